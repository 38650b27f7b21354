namespace Trapline.Machine;

/// <summary>What a finding means for running guests.</summary>
public enum PreflightState
{
    /// <summary>As it should be.</summary>
    Good,
    /// <summary>Guests run, but something that is not needed for it is missing.</summary>
    Note,
    /// <summary>Guests run, but slower or with less than they could have.</summary>
    Warning,
    /// <summary>Guests do not run.</summary>
    Bad,
}

/// <summary>One thing that was looked at.</summary>
/// <param name="Subject">A word or two, the same in every report.</param>
/// <param name="Finding">What is there, with figures.</param>
/// <param name="Advice">What to do; null if nothing needs to be done.</param>
public sealed record PreflightFinding(string Subject, PreflightState State, string Finding, string? Advice = null);

/// <summary>What this host offers Trapline.</summary>
/// <param name="Engine">What "auto" takes here.</param>
public sealed record PreflightReport(EngineChoice Engine, IReadOnlyList<PreflightFinding> Findings)
{
    /// <summary>Guests can run.</summary>
    public bool CanRun => Findings.All(f => f.State != PreflightState.Bad);
}
