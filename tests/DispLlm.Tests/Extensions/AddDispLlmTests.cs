using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using TorchSharp;

namespace DispLlm.Tests.Extensions;

/// <summary>The services that AddDispLlm registers.</summary>
public sealed class AddDispLlmTests
{
    [Fact]
    public void The_backend_is_made_once_when_it_is_asked_for()
    {
        int made = 0;
        using var services = new ServiceCollection()
            .AddDispLlm(options => options.Backend = logger => Counted(TorchBackend.Cpu(torch.ScalarType.BFloat16, logger), ref made))
            .BuildServiceProvider();
        Assert.Equal(0, made);
        var backend = services.GetRequiredService<ITensorBackend>();
        using var scope = services.CreateScope();
        Assert.Same(backend, scope.ServiceProvider.GetRequiredService<ITensorBackend>());
        Assert.Equal(1, made);
        Assert.Equal(torch.ScalarType.BFloat16, backend.ComputeType);
    }

    [Fact]
    public async Task Models_are_loaded_and_pruned_with_what_is_registered_and_logged_where_the_application_logs()
    {
        using var logs = new Logs();
        using var services = new ServiceCollection()
            .AddSingleton<ILoggerFactory>(logs)
            .AddDispLlm(options =>
            {
                options.Backend = logger => TorchBackend.Cpu(logger: logger);
                options.Families = options.Families.Add(new AddYourOwnFamily.SeedOssFamily());
            })
            .BuildServiceProvider();
        var pruner = services.GetRequiredService<ModelPruner>();
        using var model = pruner.Load(Fixture.GetFolder("seed-oss"), TestContext.Current.CancellationToken);
        Assert.Same(services.GetRequiredService<ITensorBackend>(), model.Backend);
        Assert.Equal("seed-oss", model.Family.Name);
        Assert.Contains(logs.Lines, line => line.Contains("seed-oss", StringComparison.Ordinal));

        int before = logs.Lines.Count;
        var result =
            await pruner.Prune(model).WithPruningRatio(0.4).WithStrategy(new Talkative()).RunAsync(TestContext.Current.CancellationToken);
        Assert.InRange(result.KeptFraction(), 0.5, 0.6);
        Assert.Contains("the strategy speaks", logs.Lines.Skip(before));
    }

    [Fact]
    public void What_the_application_has_registered_before_stays()
    {
        var mine = TorchBackend.Cpu(torch.ScalarType.BFloat16);
        var families = ModelFamilies.BuiltIn.Add(new AddYourOwnFamily.SeedOssFamily());
        using var services = new ServiceCollection().AddSingleton<ITensorBackend>(mine).AddSingleton(families).AddDispLlm().AddDispLlm()
            .BuildServiceProvider();
        Assert.Same(mine, services.GetRequiredService<ITensorBackend>());
        Assert.Same(families, services.GetRequiredService<ModelFamilies>());
        Assert.Single(services.GetServices<ModelPruner>());
    }

    [Fact]
    public void A_missing_option_is_refused_where_it_is_given()
    {
        var services = new ServiceCollection();
        Assert.Contains("Backend",
            Assert.Throws<ArgumentNullException>(() => services.AddDispLlm(options => options.Backend = null!)).ParamName,
            StringComparison.Ordinal);
        Assert.Contains("Families",
            Assert.Throws<ArgumentNullException>(() => services.AddDispLlm(options => options.Families = null!)).ParamName,
            StringComparison.Ordinal);
        Assert.Throws<ArgumentNullException>(() => services.AddDispLlm(null!));
        Assert.Empty(services);
    }

    private static TorchBackend Counted(TorchBackend backend, ref int count)
    {
        count++;
        return backend;
    }

    private sealed class Talkative : ISelectionStrategy
    {
        public string Name => "talkative";

        public bool NeedsCalibration => false;

        public IReadOnlyDictionary<string, string> Settings => new Dictionary<string, string>();

        public Task<SelectionOutcome> SelectAsync(SelectionRequest request, CancellationToken cancellationToken = default)
        {
            request.Logger.LogInformation("the strategy speaks");
            return new MagnitudeSelection().SelectAsync(request, cancellationToken);
        }
    }

    private sealed class Logs : ILoggerFactory, ILogger
    {
        public List<string> Lines { get; } = [];

        public ILogger CreateLogger(string categoryName) => this;

        public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?,
            string> formatter) =>
            Lines.Add(formatter(state, exception));

        public void Dispose()
        {
        }
    }
}
