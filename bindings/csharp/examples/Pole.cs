// CartPole-v1 in C#: examples/c/pole.c, step by step.
//
//     mcs -unsafe -out:pole.exe bindings/csharp/Ferry.cs bindings/csharp/examples/Pole.cs && LD_LIBRARY_PATH=build mono pole.exe [ADDRESS [ROWS]]

using System;
using System.Globalization;
using System.Text.RegularExpressions;
using Ferry;

public sealed class Pole
{
    const double XLimit = 2.4, ThetaLimit = 12 * 2 * Math.PI / 360;
    const int MaxSteps = 500;
    static readonly Regex Options = new Regex(@"^\s*{\s*(""state""\s*:\s*\[\s*([^,\s]+)\s*,\s*([^,\s]+)\s*,\s*([^,\s]+)\s*,\s*([^,\s]+)\s*\]\s*)?}\s*$");

    public readonly double[] State = new double[4];
    ulong rng;
    int steps;
    bool fallen;

    public Pole(ulong seed) { rng = seed; }

    // splitmix64, as a double in [0, 1).
    double Uniform()
    {
        ulong z = rng += 0x9E3779B97F4A7C15u;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return ((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
    }

    public void Draw(long seed)
    {
        if (seed >= 0) rng = (ulong)seed;
        for (int i = 0; i < 4; i++) State[i] = -0.05 + 0.1 * Uniform();
    }

    // The start of an episode; false if the options are malformed.
    bool Reset(Turn turn, int row)
    {
        Match options = Options.Match(turn.BlobFormat == Format.None ? "{}" : turn.BlobText);
        Draw(turn.Seed(row));
        for (int i = 0; i < 4 && options.Groups[1].Success; i++)
            if (!double.TryParse(options.Groups[2 + i].Value, NumberStyles.Float, CultureInfo.InvariantCulture, out State[i])
                || double.IsNaN(State[i]) || double.IsInfinity(State[i])) return false;
        steps = 0;
        fallen = false;
        return options.Success;
    }

    // One Euler step of 20 ms; true when the pole has fallen or the cart has left the track.
    public bool Advance(double force)
    {
        const double gravity = 9.8, poleMass = 0.1, totalMass = 0.1 + 1.0, halfLength = 0.5, moment = 0.1 * 0.5, tau = 0.02;
        double[] s = State;
        double cosine = Math.Cos(s[2]), sine = Math.Sin(s[2]);
        double push = (force + moment * (s[3] * s[3]) * sine) / totalMass;
        double spin = (gravity * sine - cosine * push) / (halfLength * (4.0 / 3.0 - poleMass * (cosine * cosine) / totalMass));
        double shift = push - moment * spin * cosine / totalMass;
        s[0] += tau * s[1];
        s[1] += tau * shift;
        s[2] += tau * s[3];
        s[3] += tau * spin;
        return s[0] < -XLimit || s[0] > XLimit || s[2] < -ThetaLimit || s[2] > ThetaLimit;
    }

    void Step(Turn turn, int row, long push)
    {
        bool down = Advance(push != 0 ? 10 : -10);
        turn.SetTerminated(down, row);
        turn.SetTruncated(++steps >= MaxSteps, row);
        turn.SetReward(down && fallen ? 0 : 1, row); // the fall itself still earns 1
        fallen |= down;
    }

    // Does what the turn asks of its rows, and answers.
    static void Play(Pole[] poles, Turn turn, ObservationKey<float> state, ActionKey<long> push)
    {
        for (int i = 0; i < turn.NumRows; i++)
        {
            int row = turn.Row(i);
            Pole pole = poles[row];
            if (turn.Kind == Kind.Step) pole.Step(turn, row, turn.Get(push, row)[0]);
            else if (!pole.Reset(turn, row))
            {
                turn.Fail("the options must be {} or {\"state\": [x, x_dot, theta, theta_dot]}, four finite numbers");
                return;
            }
            Span<float> seen = turn.Get(state, row);
            for (int k = 0; k < 4; k++) seen[k] = (float)pole.State[k];
        }
        turn.Reply();
    }

    public static int Main(string[] args)
    {
        float x = (float)(XLimit * 2), theta = (float)(ThetaLimit * 2), infinity = float.PositiveInfinity;
        var poles = new Pole[args.Length > 1 ? int.Parse(args[1]) : 1];
        for (int i = 0; i < poles.Length; i++) poles[i] = new Pole((ulong)DateTime.Now.Ticks + ((ulong)i << 40));
        var spec = new Spec { NumRows = (uint)poles.Length, About = "{\"metadata\": {\"render_modes\": [], \"render_fps\": 50}}" };
        var state = spec.Observation("", Space.Box(new[] { -x, -infinity, -theta, -infinity }, new[] { x, infinity, theta, infinity }, 4));
        var push = spec.Action("", Space.Discrete(2));
        try
        {
            using (Env env = spec.Open(args.Length > 0 ? args[0] : "pole"))
                while (true)
                    if (env.Wait(Env.Forever, out Turn turn) && turn.Kind != Kind.Left) Play(poles, turn, state, push);
        }
        catch (FerryException error)
        {
            if (error.Code == Error.Closed) return 0; // an inherited connection ends with its agent
            Console.Error.WriteLine("pole: " + error.Message);
            return 1;
        }
    }
}
