// An environment with one of every kind of field, which shows the agent what it was given. An argument has it misbehave: "leak" allocates
// in each step, "throw" throws in the log, "hide" throws there what throws when it is shown, "dispose" disposes there of the environment,
// "collect" collects garbage all the while, which stops and signals every thread.

using System;
using System.Threading;
using Ferry;

public static class Everything
{
    const int WarmUp = 10; // the tenth step is the first that counts

    class Hidden : Exception
    {
        public override string ToString() { throw new InvalidOperationException("not even this"); }
    }

    static int Collections() { return GC.CollectionCount(0) + GC.CollectionCount(GC.MaxGeneration); }

    static bool Throws<T>(Action work) where T : Exception
    {
        try { work(); }
        catch (T) { return true; }
        return false;
    }

    // What the binding answers to misuse, in words.
    static string Misuse(Env env, Turn turn, Turn before)
    {
        ActionKey<double> wrong = new Spec().Action("", Space.Box<double>(new uint[] { 2 }));
        bool waiting = false, looking = !env.Wait(0, out Turn none);
        try { env.Wait(1000000, out none); }
        catch (FerryException error) { waiting = error.Code == Error.WrongState && error.Message == env.Why; }
        bool key = Throws<ArgumentException>(() => turn.Get(wrong));
        bool row = Throws<ArgumentOutOfRangeException>(() => turn.SetReward(1, 1));
        bool over = Throws<InvalidOperationException>(() => before.SetReward(1));
        return $"{{\"waiting\": {waiting}, \"looking\": {looking}, \"key\": {key}, \"row\": {row}, \"over\": {over}}}".ToLower();
    }

    static void Play(string mode)
    {
        var spec = new Spec { TakesCalls = true };
        Space<float> numbers = Space.Box<float>(-1, 1, 2).UpTo(4);
        var seenNumbers = spec.Observation("numbers", numbers);
        var seenWord = spec.Observation("word", Space.Text(16));
        var seenBits = spec.Observation("bits", Space.MultiBinary(3));
        var seenPair = spec.Observation("pair", Space.MultiDiscrete(3, 5));
        var nothing = spec.Observation("nothing", Space.Box<double>(0, 0, 2));
        var picture = spec.Observation("picture", Space.Box<byte>(new uint[] { 4, 2 }));
        var givenNumbers = spec.Action("numbers", numbers);
        var givenWord = spec.Action("word", Space.Text(16));
        var givenBits = spec.Action("bits", Space.MultiBinary(3));
        var givenPair = spec.Action("pair", Space.MultiDiscrete(3, 5));
        var count = spec.Info("count", Space.Box<uint>(new uint[0]));
        Env opened = null;
        spec.Log = (level, text) =>
        {
            if (mode == "throw") throw new InvalidOperationException("the log has had enough");
            if (mode == "hide") throw new Hidden();
            if (mode == "dispose") opened.Dispose();
            Console.WriteLine((level == Level.Warning ? "warning: " : "log: ") + text);
        };
        if (mode == "collect") new Thread(() => { while (true) GC.Collect(); }) { IsBackground = true }.Start();
        uint steps = 0;
        long begun = 0;
        int collections = 0;
        object leak = null;
        Turn before = default(Turn);
        using (Env env = opened = spec.Open())
            while (env.Wait(Env.Forever, out Turn turn))
            {
                if (turn.Kind == Kind.Left)
                {
                    long bytes = GC.GetAllocatedBytesForCurrentThread() - begun;
                    Console.WriteLine($"left: {turn.Reason}, {bytes} bytes and {Collections() - collections} collections " +
                        $"since step {WarmUp} of {steps}");
                    GC.KeepAlive(leak);
                    continue;
                }
                if (turn.Kind == Kind.Call)
                {
                    string request = turn.BlobText;
                    turn.Attach(request.Contains("misuse") ? Misuse(env, turn, before) : request);
                }
                else if (turn.Kind == Kind.Step)
                {
                    steps++;
                    if (mode == "leak") leak = new int[steps % 2];
                    turn.TryGetList(givenNumbers, out ReadOnlySpan<float> list);
                    turn.SetList(seenNumbers, list);
                    turn.TryGetList(givenWord, out ReadOnlySpan<byte> word);
                    turn.SetList(seenWord, word);
                    turn.Get(givenBits).CopyTo(turn.Get(seenBits));
                    turn.Get(givenPair).CopyTo(turn.Get(seenPair));
                    turn.Set(count, steps);
                    if (steps == WarmUp)
                    {
                        begun = GC.GetAllocatedBytesForCurrentThread();
                        collections = Collections();
                    }
                }
                else
                {
                    steps = 0;
                    turn.SetList(seenNumbers, default(ReadOnlySpan<float>));
                    turn.SetList(seenWord, default(ReadOnlySpan<byte>));
                    turn.Get(seenBits).Clear();
                    turn.Get(seenPair).Clear();
                }
                if (turn.Kind != Kind.Call)
                {
                    turn.Get(nothing).Clear();
                    Span<byte> pixels = turn.Get(picture);
                    for (int i = 0; i < pixels.Length; i++) pixels[i] = (byte)i;
                }
                turn.Reply();
                before = turn;
            }
    }

    public static void Main(string[] args)
    {
        try { Play(args.Length > 0 ? args[0] : ""); }
        catch (FerryException error) { Console.WriteLine($"{error.Code}: {error.Message}"); }
    }
}
