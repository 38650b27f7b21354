using Trapline.Core;

namespace Trapline.Machine;

/// <summary>The parts of a board that have state, by name, in the order in which they are restored.</summary>
/// <remarks>Order matters: a device that is restored states its interrupt line anew, so what the lines lead to comes after it and has the last word.</remarks>
internal sealed class BoardParts
{
    private readonly List<Part> _parts = [];

    private sealed record Part(string Name, object Device, Type State, Func<object> Save, Action<object> Restore);

    /// <summary>The devices in the list, for the test that none is forgotten.</summary>
    public IEnumerable<object> Devices => _parts.Select(p => p.Device);

    public void Add<TState>(string name, ISavedDevice<TState> device) where TState : class
    {
        if (_parts.Any(p => p.Name == name))
            throw new ArgumentException($"two parts of the board are called {name}");
        _parts.Add(new Part(name, device, typeof(TState), device.Save, state => device.Restore((TState)state)));
    }

    public IReadOnlyList<SavedPart> Save() => [.. _parts.Select(p => new SavedPart(p.Name, p.Save()))];

    /// <exception cref="BadInputException">The states are not those of these parts.</exception>
    public void Restore(IReadOnlyList<SavedPart> saved)
    {
        Dictionary<string, object> states = saved.ToDictionary(s => s.Name, s => s.State);
        foreach (Part part in _parts)
        {
            if (!states.Remove(part.Name, out object? state))
                throw new BadInputException($"the saved machine has no state for '{part.Name}': it was saved from a machine of another make");
            if (state.GetType() != part.State)
                throw new BadInputException($"the saved state of '{part.Name}' is of another kind: {state.GetType().Name}");
            try
            {
                part.Restore(state);
            }
            catch (Exception refusal) when (refusal is ArgumentException or IndexOutOfRangeException)
            {
                throw new BadInputException($"the saved state of '{part.Name}' is impossible: {refusal.Message.ReplaceLineEndings(" ")}");
            }
        }
        if (states.Count != 0)
            throw new BadInputException($"the saved machine has a '{states.Keys.First()}', which this machine lacks");
    }
}
