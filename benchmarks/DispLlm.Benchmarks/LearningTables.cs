using System.Diagnostics;
using System.Globalization;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Benchmarks;

/// <summary>A learning step, as Markdown: its speed as a share of its matrix multiplications', and its memory.</summary>
internal static class LearningTables
{
    /// <summary>
    /// The model's half of a step, alternating with the dense matrix multiplications of its forward pass and input gradients.
    /// </summary>
    public static void Speed(TextWriter output, StepShape of, ScalarType type, bool onGpu, int rounds)
    {
        var backend = StepDevice.Backend(type, onGpu);
        using var shape = new StepModel(of, backend);
        using var random = new RandomSource(1).Stream("benchmark");
        using var tokens = (random.Uniform(of.Batch, of.Length + 1) * shape.Model.Spec.VocabularySize).to(ScalarType.Int64);
        output.WriteLine($"{of.Name}, {(of.Batch == 1 ? string.Empty : $"{of.Batch} x ")}{of.Length} tokens, {type}, "
            + $"{(onGpu ? "GPU" : $"{torch.get_num_threads()} threads")}; medians of {rounds} rounds.\n");
        output.WriteLine(
            "| step | gates open | activation checkpointing | share of the matrix speed | with attention |\n|---|---|---|---|---|");
        void Row(string step, double open, ActivationCheckpointing kept, Action<Tensor> run)
        {
            // Gates move from step to step, as they do in learning, and with them the shapes of what is computed.
            Tensor[] gates = [.. Enumerable.Range(0, rounds + 1).Select(
                _ => (random.Uniform(shape.Model.GateLayout.Count) < open).to(ScalarType.Float32).to(backend.Device))];
            int round = 0;
            double share = Quotient(backend, rounds, () => shape.MatMuls(2), () => run(gates[round++]));
            Array.ForEach(gates, tensor => tensor.Dispose());
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"| {step} | {open:P0} | {kept} | {share:F2} | {share * (1 + shape.AttentionShare()):F2} |"));
            output.Flush();
        }

        using (var eager = new EagerStep(shape.Model, of.Length))
        {
            EnsureSame(shape, eager, tokens, type);
            Row("libtorch's operators", 1, ActivationCheckpointing.None, gates => eager.Gradient(gates, tokens).Dispose());
        }

        foreach (double open in new[] { 1, 0.7, 0.5 })
        {
            foreach (var kept in new[] { ActivationCheckpointing.None, ActivationCheckpointing.PerBlock })
            {
                Row("this library's", open, kept, gates => Step(shape, gates, tokens, kept));
            }
        }

        if (type != ScalarType.Float32 && !onGpu)
        {
            using var wide = new StepModel(of, TorchBackend.Cpu());
            using var gates = ones(shape.Model.GateLayout.Count, device: backend.Device);
            double matmuls = Quotient(backend, rounds, () => shape.MatMuls(2), () => wide.MatMuls(2));
            double steps = Quotient(
                backend, rounds, () => Step(shape, gates, tokens, ActivationCheckpointing.None), () =>
                    Step(wide, gates, tokens, ActivationCheckpointing.None));
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                    $"\nMatrix multiplications take {matmuls:F2} of the time that they take in float32, a step with all gates open "
                        + $"{steps:F2}."));
        }
    }

    /// <summary>
    /// Peak memory of a step at LLaMA-2 7B's block shape and 2,048 tokens, by depth, each in a process of its own, beside what
    /// <see cref="TrainingMemoryEstimate"/> counts.
    /// </summary>
    public static void Memory(TextWriter output, ScalarType type, int[] depths)
    {
        output.WriteLine($"LLaMA-2 7B's blocks, 2,048 tokens, {type}, all gates open.\n");
        output.WriteLine("| blocks | activation checkpointing | peak, GB | estimate, GB |\n|---|---|---|---|");
        foreach (int depth in depths)
        {
            foreach (var kept in new[] { ActivationCheckpointing.None, ActivationCheckpointing.PerBlock })
            {
                using var child = Process.Start(
                    new ProcessStartInfo(
                    Environment.ProcessPath!, [.. Self(), "step", $"{type}", $"{depth}", $"{kept}"])
                    { RedirectStandardOutput = true })!;
                output.Write(child.StandardOutput.ReadToEnd());
                child.WaitForExit();
                output.Flush();
            }
        }
    }

    /// <summary>One row of <see cref="Memory"/>: one step, then this process's own peak.</summary>
    public static void Row(TextWriter output, ScalarType type, int blocks, ActivationCheckpointing kept)
    {
        var shape = StepShape.Llama2(blocks);
        using var model = Even(shape, TorchBackend.Cpu(type));
        using var tokens = arange(0, shape.Length + 1, ScalarType.Int64).unsqueeze(0);
        using var gates = ones(model.GateLayout.Count);
        GateGradients.Compute(model, gates, NormOrder.NormThenSelect, [tokens], memory: kept).Dispose();
        double peak = model.Backend.Memory().PeakProcessBytes / 1e9,
            counted = TrainingMemoryEstimate.Estimate(model.Spec, type, shape.Batch, shape.Length, onAccelerator: false).Total(kept) / 1e9;
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {blocks} | {kept} | {peak:F2} | {counted:F2} |"));
    }

    /// <summary>
    /// Whole steps of a learning run on a GPU that has only so much memory left: the rest is allocated before. The library chooses the
    /// activation checkpointing.
    /// </summary>
    public static void Card(TextWriter output, ScalarType type, int blocks, double card)
    {
        var backend = TorchBackend.Cuda(0, type);
        using Tensor first = zeros(1, device: backend.Device);
        double Free() => backend.Memory().AvailableBytes!.Value;
        double over = Free() - card;
        if (over < 0)
        {
            throw new InvalidOperationException($"The card has {Free() / 1e9:F1} GB left, which is less than {card / 1e9:F1}.");
        }

        using Tensor taken = empty([(long)over], ScalarType.Byte, backend.Device);
        var shape = StepShape.Llama2(blocks);
        using var model = Even(shape, backend);
        double loaded = card - Free();
        var counted = TrainingMemoryEstimate.Estimate(model.Spec, type, shape.Batch, shape.Length, onAccelerator: true);
        using var trainer = new HypernetworkTrainer(
            model, PruningBudget.FromRatio(0.5), new HypernetworkOptions { Steps = 3, GradientAccumulationSteps = 1 });
        using var tokens = arange(0, shape.Length + 1, ScalarType.Int64).unsqueeze(0);
        using var random = new RandomSource(0).Stream("card");
        var clock = Stopwatch.StartNew();
        for (int step = 0; step < 3; step++)
        {
            clock.Restart();
            using var uniforms = random.Uniform(model.GateLayout.Count);
            trainer.Step([tokens], uniforms);
            StepDevice.Wait(backend);
        }

        double hypernetwork = 16.0 * trainer.Hypernetwork.parameters().Sum(parameter => parameter.numel());
        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{shape.Name}, {shape.Length:N0} tokens, {type}, {card / 1e9:F1} GB of a GPU: weights and context take {loaded / 1e9:F2} GB, "
                + $"after three steps {(card - Free()) / 1e9:F2} GB are taken; "
            + $"estimated {(counted.Total(ActivationCheckpointing.PerBlock) + hypernetwork) / 1e9:F2} GB with checkpointing per block, "
            + $"{(counted.Total(ActivationCheckpointing.None) + hypernetwork) / 1e9:F2} GB without; the last step took "
            + $"{clock.Elapsed.TotalSeconds:F2} s."));
    }

    /// <summary>A model with equal weights, to measure bytes.</summary>
    private static PrunableModel Even(StepShape shape, ITensorBackend backend)
    {
        var model = shape.Model(backend);
        using var noGradient = no_grad();
        foreach (var role in StepModel.BlockRoles)
        {
            Enumerable.Range(0, model.Spec.NumLayers).ToList().ForEach(block => model.Weight(role, block).fill_(1e-3));
        }

        new[] { WeightRole.TokenEmbedding, WeightRole.FinalNorm, WeightRole.Head }.ToList().ForEach(role => model.Weight(role).fill_(1e-3));
        return model;
    }

    private static string[] Self() =>
        Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet" ? [typeof(LearningTables).Assembly.Location] : [];

    private static void Step(StepModel shape, Tensor gates, Tensor tokens, ActivationCheckpointing kept) =>
        GateGradients.Compute(shape.Model, gates, NormOrder.NormThenSelect, [tokens], memory: kept).Dispose();

    /// <summary>Both steps have to compute the same gradient.</summary>
    private static void EnsureSame(StepModel shape, EagerStep eager, Tensor tokens, ScalarType type)
    {
        using var scope = NewDisposeScope();
        Tensor gates = ones(shape.Model.GateLayout.Count, device: shape.Model.Backend.Device), expected = eager.Gradient(gates, tokens);
        using var own = GateGradients.Compute(shape.Model, gates, NormOrder.NormThenSelect, [tokens], memory: ActivationCheckpointing.None);
        double off = ((own.Gradient - expected).norm() / expected.norm()).ToDouble();
        if (!(off < (type == ScalarType.Float32 ? 1e-3 : 0.1)))
        {
            throw new InvalidOperationException($"The two steps' gradients are {off} apart.");
        }
    }

    /// <summary>The median ratio of two actions' times, alternating, after a warm-up.</summary>
    private static double Quotient(ITensorBackend backend, int rounds, Action above, Action below)
    {
        double Seconds(Action action)
        {
            StepDevice.Wait(backend);
            long start = Stopwatch.GetTimestamp();
            action();
            StepDevice.Wait(backend);
            return Stopwatch.GetElapsedTime(start).TotalSeconds;
        }

        below();
        above();
        double[] quotients = [.. Enumerable.Range(0, rounds).Select(_ => Seconds(above) / Seconds(below)).Order()];
        return quotients[rounds / 2];
    }
}
