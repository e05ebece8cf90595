using System.Diagnostics;
using System.Globalization;
using TorchSharp;
using static TorchSharp.torch;

namespace DispLlm.Benchmarks;

/// <summary>A learning step in plain measured loops, as Markdown: its speed beside the matrix products that it cannot do without, and its memory.</summary>
internal static class LearningTables
{
    /// <summary>The model's half of a step at SmolLM2's shape, 512 tokens, in turns with the dense products of its forward pass and input gradients.</summary>
    public static void Speed(TextWriter output, ScalarType type, int rounds)
    {
        using var shape = new SmolLm2Shape(type);
        using var random = new RandomSource(1).Stream("benchmark");
        using var tokens = (random.Uniform(1, SmolLm2Shape.Tokens + 1) * 49152).to(ScalarType.Int64);
        output.WriteLine($"SmolLM2's shape, 512 tokens, {type}, {torch.get_num_threads()} threads; medians of {rounds} turns.\n");
        output.WriteLine("| step | gates open | kept for the way back | share of the product speed | with attention's products |\n|---|---|---|---|---|");
        void Row(string step, double open, ActivationMemory kept, Action<Tensor> run)
        {
            // Gates move from step to step, as they do in learning, and with them the shapes of what is computed.
            Tensor[] gates = [.. Enumerable.Range(0, rounds + 1).Select(_ => (random.Uniform(shape.Model.GateLayout.Count) < open).to(ScalarType.Float32))];
            int turn = 0;
            double share = Quotient(rounds, () => shape.Products(2), () => run(gates[turn++]));
            Array.ForEach(gates, tensor => tensor.Dispose());
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"| {step} | {open:P0} | {kept} | {share:F2} | {share * (1 + SmolLm2Shape.AttentionShare(shape.Model.Spec)):F2} |"));
            output.Flush();
        }

        using (var eager = new EagerStep(shape.Model))
        {
            EnsureSame(shape, eager, tokens, type);
            Row("in the framework's operators", 1, ActivationMemory.Everything, gates => eager.Gradient(gates, tokens).Dispose());
        }

        foreach (double open in new[] { 1, 0.7, 0.5 })
        {
            foreach (var kept in new[] { ActivationMemory.Everything, ActivationMemory.BlockInputs })
            {
                Row("this library's", open, kept, gates => Step(shape, gates, tokens, kept));
            }
        }

        if (type != ScalarType.Float32)
        {
            using var wide = new SmolLm2Shape(ScalarType.Float32);
            using var gates = ones(shape.Model.GateLayout.Count);
            double products = Quotient(rounds, () => shape.Products(2), () => wide.Products(2));
            double steps = Quotient(
                rounds, () => Step(shape, gates, tokens, ActivationMemory.Everything), () => Step(wide, gates, tokens, ActivationMemory.Everything));
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"\nPlain products take {products:F2} of the time that they take in float32, a step with all gates open {steps:F2}."));
        }
    }

    /// <summary>Peak memory of a step at LLaMA-2 7B's block shape and 2,048 tokens, by depth, each in a process of its own, beside what <see cref="StepMemory"/> counts.</summary>
    public static void Memory(TextWriter output, ScalarType type, int[] depths)
    {
        output.WriteLine($"LLaMA-2 7B's blocks, 2,048 tokens, {type}, all gates open.\n");
        output.WriteLine("| blocks | kept for the way back | peak, GB | counted, GB |\n|---|---|---|---|");
        foreach (int depth in depths)
        {
            foreach (var kept in new[] { ActivationMemory.Everything, ActivationMemory.BlockInputs })
            {
                using var child = Process.Start(new ProcessStartInfo(Environment.ProcessPath!, [.. Self(), "step", $"{type}", $"{depth}", $"{kept}"]) { RedirectStandardOutput = true })!;
                output.Write(child.StandardOutput.ReadToEnd());
                child.WaitForExit();
                output.Flush();
            }
        }
    }

    /// <summary>One row of <see cref="Memory"/>: one step, then this process's own peak.</summary>
    public static void Row(TextWriter output, ScalarType type, int blocks, ActivationMemory kept)
    {
        var config = ModelConfig.Parse(
            $$"""
            {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": {{blocks}}, "num_attention_heads": 32,
             "num_key_value_heads": 32, "vocab_size": 32000, "max_position_embeddings": 4096}
            """,
            "LLaMA-2 7B's shape");
        using var model = PrunableModel.FromConfig(config, TorchBackend.Cpu(type));
        using (no_grad())
        {
            foreach (var role in SmolLm2Shape.BlockRoles)
            {
                Enumerable.Range(0, blocks).ToList().ForEach(block => model.Weight(role, block).fill_(1e-3));
            }

            new[] { WeightRole.TokenEmbedding, WeightRole.FinalNorm, WeightRole.Head }.ToList().ForEach(role => model.Weight(role).fill_(1e-3));
        }

        using var tokens = arange(0, 2049, ScalarType.Int64).unsqueeze(0);
        using var gates = ones(model.GateLayout.Count);
        GateGradients.Of(model, gates, NormOrder.NormThenSelect, [tokens], memory: kept).Dispose();
        double peak = model.Backend.Memory().PeakProcessBytes / 1e9, counted = StepMemory.Of(model.Spec, type, 1, 2048).Of(kept) / 1e9;
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {blocks} | {kept} | {peak:F2} | {counted:F2} |"));
    }

    private static string[] Self() => Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet" ? [typeof(LearningTables).Assembly.Location] : [];

    private static void Step(SmolLm2Shape shape, Tensor gates, Tensor tokens, ActivationMemory kept) =>
        GateGradients.Of(shape.Model, gates, NormOrder.NormThenSelect, [tokens], memory: kept).Dispose();

    /// <summary>Both steps have to compute one gradient, or their times say nothing.</summary>
    private static void EnsureSame(SmolLm2Shape shape, EagerStep eager, Tensor tokens, ScalarType type)
    {
        using var scope = NewDisposeScope();
        Tensor gates = ones(shape.Model.GateLayout.Count), expected = eager.Gradient(gates, tokens);
        using var own = GateGradients.Of(shape.Model, gates, NormOrder.NormThenSelect, [tokens], memory: ActivationMemory.Everything);
        double off = ((own.Gradient - expected).norm() / expected.norm()).ToDouble();
        if (!(off < (type == ScalarType.Float32 ? 1e-3 : 0.1)))
        {
            throw new InvalidOperationException($"The two steps' gradients are {off} apart.");
        }
    }

    /// <summary>The median of one action's time over another's, in turns, after one turn that is not measured.</summary>
    private static double Quotient(int rounds, Action above, Action below)
    {
        below();
        above();
        double[] quotients = [.. Enumerable.Range(0, rounds).Select(_ => Seconds(above) / Seconds(below)).Order()];
        return quotients[rounds / 2];
    }

    private static double Seconds(Action action)
    {
        long start = Stopwatch.GetTimestamp();
        action();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }
}
