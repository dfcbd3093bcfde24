// The floor of bench/engines/languages.py in C#: see loop.c.

using System;
using System.Diagnostics;

public static class Loop
{
    static readonly float[] seen = new float[4];

    public static void Main()
    {
        var pole = new Pole(0);
        for (string line; (line = Console.ReadLine()) != null;)
        {
            string[] parts = line.Split(' ');
            string actions = parts[1];
            pole.Draw(long.Parse(parts[0]));
            double total = 0;
            long begun = Stopwatch.GetTimestamp();
            for (int i = 0; i < actions.Length; i++)
            {
                bool down = pole.Advance(actions[i] == '1' ? 10 : -10);
                for (int k = 0; k < 4; k++) seen[k] = (float)pole.State[k];
                total += down ? 0 : 1;
            }
            double elapsed = (Stopwatch.GetTimestamp() - begun) * (1e9 / Stopwatch.Frequency);
            Console.WriteLine((long)elapsed + " " + total);
        }
    }
}
