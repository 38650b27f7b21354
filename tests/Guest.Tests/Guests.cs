namespace Guest.Tests;

/// <summary>Guests boot one after the other: each wants a core of its own.</summary>
[CollectionDefinition("guests", DisableParallelization = true)]
public sealed class Guests;
