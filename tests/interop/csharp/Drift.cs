// The scenario of tests/interop/README.md in C#.

using System;
using System.Text;
using Ferry;

public static class Drift
{
    static void Play()
    {
        byte[] language = Encoding.UTF8.GetBytes("{\"language\": \"csharp\"}");
        var spec = new Spec();
        var position = spec.Observation("position", Space.Box<float>(-10, 10, 2));
        var counted = spec.Observation("ticks", Space.Discrete(101));
        var moved = spec.Action("move", Space.Discrete(3, start: -1));
        var pushed = spec.Action("push", Space.Box<float>(-1, 1, 2));
        var energy = spec.Info("energy", Space.Box<double>(0, double.PositiveInfinity));
        float x = 0, y = 0;
        long ticks = 0;
        using (Env env = spec.Open())
            while (env.Wait(Env.Forever, out Turn turn))
            {
                if (turn.Kind == Kind.Left) continue;
                if (turn.Kind == Kind.Reset)
                {
                    long seed = turn.Seed();
                    if (turn.Blob.Length > "{}".Length)
                    {
                        turn.Fail("drift takes no options");
                        continue;
                    }
                    x = seed < 0 ? 0 : seed % 7 - 3;
                    y = seed < 0 ? 0 : seed % 5 - 2;
                    ticks = 0;
                    turn.Attach(Format.Json, language);
                }
                else
                {
                    ReadOnlySpan<float> push = turn.Get(pushed);
                    x += 0.5f * turn.Get(moved)[0] + push[0];
                    y += push[1];
                    ticks++;
                    turn.SetTerminated(Math.Abs(x) > 8 || Math.Abs(y) > 8);
                    turn.SetTruncated(ticks == 100);
                    turn.SetReward(-((double)Math.Abs(x) + Math.Abs(y)));
                }
                Span<float> seen = turn.Get(position);
                seen[0] = x;
                seen[1] = y;
                turn.Set(counted, ticks);
                turn.Set(energy, (double)x * x + (double)y * y);
                turn.Reply();
            }
    }

    public static int Main()
    {
        try { Play(); }
        catch (FerryException error) { Console.Error.WriteLine("drift: " + error.Message); }
        return 1;
    }
}
