// Ferry for C#: serve an environment to agents that speak the Gymnasium API, through shared memory. One file, for Unity and Mono:
// put it beside your scripts, and libferry.so among the plugins. C# 7, "unsafe" allowed, Span<T> (Unity: .NET Standard 2.1).
//
//     var spec = new Ferry.Spec();
//     var position = spec.Observation("", Ferry.Space.Box<float>(-10, 10, 1));
//     var walk = spec.Action("", Ferry.Space.Discrete(3, start: -1));
//     float x = 0;
//     using (var env = spec.Open("walk"))
//         while (env.Wait(Ferry.Env.Forever, out var turn))         // in a game: if (env.Wait(0, out var turn)) in every FixedUpdate
//         {
//             if (turn.Kind == Ferry.Kind.Left) continue;           // the next agent may come
//             x = turn.Kind == Ferry.Kind.Reset ? 0 : x + turn.Get(walk)[0];
//             turn.Set(position, x);                                // written in place, into shared memory
//             turn.SetReward(x >= 10 ? 1 : 0);
//             turn.SetTerminated(x >= 10 || x <= -10);
//             turn.Reply();
//         }
//
// No step leaves garbage. A turn that has been answered, or whose env is closed, throws when it is used; a Span taken from it before must
// not be used afterwards. An env is used by one thread at a time.

using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;

namespace Ferry
{
    /// <summary>What went wrong, for programs.</summary>
    public enum Error
    {
        None = Native.FERRY_OK,
        InvalidArgument = Native.FERRY_EINVAL,
        WrongState = Native.FERRY_ESTATE,
        OutOfMemory = Native.FERRY_ENOMEM,
        System = Native.FERRY_ESYSTEM,
        Address = Native.FERRY_EADDRESS,
        AddressInUse = Native.FERRY_EINUSE,
        Busy = Native.FERRY_EBUSY,
        Version = Native.FERRY_EVERSION,
        Role = Native.FERRY_EROLE,
        Protocol = Native.FERRY_EPROTOCOL,
        Spec = Native.FERRY_ESPEC,
        TooBig = Native.FERRY_ETOOBIG,
        Closed = Native.FERRY_ECLOSED,
        PeerDead = Native.FERRY_EPEERDEAD,
        Corrupt = Native.FERRY_ECORRUPT,
        Forked = Native.FERRY_EFORKED,
        Unsupported = Native.FERRY_EUNSUPPORTED,
    }

    /// <summary>What went wrong; its message says what was tried, what is known and what to do.</summary>
    public sealed class FerryException : Exception
    {
        public FerryException(Error code, string message) : base(message) { Code = code; }

        public Error Code { get; }
    }

    /// <summary>What a turn is about.</summary>
    public enum Kind
    {
        /// <summary>Actions are given; observations, reward and flags are wanted.</summary>
        Step = Native.FERRY_STEP,
        /// <summary>Seeds and options may be given; the first observation of a new episode is wanted.</summary>
        Reset = Native.FERRY_RESET,
        /// <summary>The agent is gone; nothing is wanted.</summary>
        Left = Native.FERRY_LEFT,
        /// <summary>A request in the blob; a blob is wanted. Only where the spec takes calls.</summary>
        Call = Native.FERRY_CALL,
    }

    /// <summary>What bytes beside the fields are.</summary>
    public enum Format
    {
        None = Native.FERRY_NONE,
        Json = Native.FERRY_JSON,
        MessagePack = Native.FERRY_MSGPACK,
        Text = Native.FERRY_TEXT,
        Values = Native.FERRY_VALUES,
    }

    /// <summary>How much a line of the log matters.</summary>
    public enum Level
    {
        Debug = Native.FERRY_LOG_DEBUG,
        Info = Native.FERRY_LOG_INFO,
        Warning = Native.FERRY_LOG_WARNING,
    }

    /// <summary>Names an observation of a spec, with elements of type T.</summary>
    public struct ObservationKey<T> where T : struct
    {
        internal readonly int Field;

        internal ObservationKey(int field) { Field = field; }
    }

    /// <summary>Names an action of a spec, with elements of type T.</summary>
    public struct ActionKey<T> where T : struct
    {
        internal readonly int Field;

        internal ActionKey(int field) { Field = field; }
    }

    /// <summary>Names an entry of the info dict that has a fixed shape, with elements of type T.</summary>
    public struct InfoKey<T> where T : struct
    {
        internal readonly int Field;

        internal InfoKey(int field) { Field = field; }
    }

    /// <summary>The number types that fields may have.</summary>
    internal static class Dtype<T> where T : struct
    {
        internal static readonly byte Code = Of(typeof(T));

        static byte Of(Type type)
        {
            if (type == typeof(sbyte)) return Native.FERRY_I8;
            if (type == typeof(byte)) return Native.FERRY_U8;
            if (type == typeof(short)) return Native.FERRY_I16;
            if (type == typeof(ushort)) return Native.FERRY_U16;
            if (type == typeof(int)) return Native.FERRY_I32;
            if (type == typeof(uint)) return Native.FERRY_U32;
            if (type == typeof(long)) return Native.FERRY_I64;
            if (type == typeof(ulong)) return Native.FERRY_U64;
            if (type == typeof(float)) return Native.FERRY_F32;
            if (type == typeof(double)) return Native.FERRY_F64;
            return Native.FERRY_DEFAULT; // which Space refuses
        }
    }

    /// <summary>A space of Gymnasium's, with elements of type T. Made by the methods of <see cref="Space"/>.</summary>
    public sealed class Space<T> where T : struct
    {
        internal byte Kind;
        internal uint[] Shape = new uint[0];
        internal double Low, High;
        internal T[] LowEach, HighEach;
        internal long N, Start;
        internal uint Capacity;

        internal Space(int kind)
        {
            if (Dtype<T>.Code == Native.FERRY_DEFAULT)
                throw new FerryException(Error.Spec, $"elements of type {typeof(T)} cannot be sent; numbers of 8 to 64 bits can");
            Kind = (byte)kind;
        }

        /// <summary>A Sequence of up to so many elements of this space.</summary>
        public Space<T> UpTo(uint capacity)
        {
            var list = (Space<T>)MemberwiseClone();
            list.Capacity = capacity;
            return list;
        }
    }

    /// <summary>Spaces of Gymnasium's.</summary>
    public static class Space
    {
        /// <summary>A Box without bounds.</summary>
        public static Space<T> Box<T>(uint[] shape) where T : struct
        {
            return new Space<T>(Native.FERRY_BOX) { Shape = shape };
        }

        /// <summary>A Box with the same bounds, inclusive, for all elements.</summary>
        public static Space<T> Box<T>(double low, double high, params uint[] shape) where T : struct
        {
            var space = new Space<T>(Native.FERRY_BOX) { Shape = shape, Low = low, High = high };
            if (low == 0 && high == 0) // for C that means no bounds
            {
                long count = 1;
                foreach (uint n in shape) count *= n;
                space.LowEach = space.HighEach = new T[count];
            }
            return space;
        }

        /// <summary>A Box with bounds for each element, in the order of C.</summary>
        public static Space<T> Box<T>(T[] low, T[] high, params uint[] shape) where T : struct
        {
            return new Space<T>(Native.FERRY_BOX) { Shape = shape, LowEach = low, HighEach = high };
        }

        /// <summary>One of n numbers from start on.</summary>
        public static Space<long> Discrete(long n, long start = 0)
        {
            return new Space<long>(Native.FERRY_DISCRETE) { N = n, Start = start };
        }

        /// <summary>Element i is one of nvec[i] numbers from 0 on.</summary>
        public static Space<long> MultiDiscrete(params long[] nvec)
        {
            var high = new long[nvec.Length];
            for (int i = 0; i < high.Length; i++) high[i] = nvec[i] - 1;
            return new Space<long>(Native.FERRY_MULTI_DISCRETE)
                { Shape = new[] { (uint)nvec.Length }, LowEach = new long[nvec.Length], HighEach = high };
        }

        /// <summary>Zeros and ones.</summary>
        public static Space<sbyte> MultiBinary(params uint[] shape)
        {
            return new Space<sbyte>(Native.FERRY_MULTI_BINARY) { Shape = shape };
        }

        /// <summary>A Text of up to so many characters of printable ASCII; its elements are their bytes.</summary>
        public static Space<byte> Text(uint capacity)
        {
            return new Space<byte>(Native.FERRY_STRING) { Capacity = capacity };
        }
    }

    /// <summary>What an environment says of itself. It may be opened more than once.</summary>
    public sealed unsafe class Spec
    {
        readonly List<Field> fields = new List<Field>();

        /// <summary>What people are shown; else the address.</summary>
        public string Name;
        /// <summary>A JSON object told to each agent: "metadata", "spec", "spaces".</summary>
        public string About;
        /// <summary>How many environments this is, stepped together.</summary>
        public uint NumRows = 1;
        /// <summary>A world that cannot step some rows alone: a step is about all of them, always.</summary>
        public bool RowsTickTogether;
        /// <summary>Not 0: the library truncates an episode of so many steps.</summary>
        public uint MaxEpisodeSteps;
        /// <summary>Turns of kind Call may come.</summary>
        public bool TakesCalls;
        /// <summary>In which format options and requests shall arrive: Json or MessagePack.</summary>
        public Format BlobFormat = Format.Json;
        /// <summary>Room in shared memory for a blob, each way; larger ones travel more slowly. 0: 16 KiB.</summary>
        public ulong BlobBytes;
        /// <summary>Refuse to take more memory than this. 0: 1 GiB.</summary>
        public ulong MaxBytes;
        /// <summary>Who gets the lines of the log, on the thread that uses the env; null: warnings go to standard error.</summary>
        public Action<Level, string> Log;

        /// <summary>Adds an observation. Keys of a Dict are joined by '/'; with an empty path it is all there is to observe.</summary>
        public ObservationKey<T> Observation<T>(string path, Space<T> space) where T : struct
        {
            return new ObservationKey<T>(Add(Native.FERRY_OBSERVATION, path, space));
        }

        /// <summary>Adds an action; paths as those of observations.</summary>
        public ActionKey<T> Action<T>(string path, Space<T> space) where T : struct
        {
            return new ActionKey<T>(Add(Native.FERRY_ACTION, path, space));
        }

        /// <summary>Adds an entry of the info dict.</summary>
        public InfoKey<T> Info<T>(string key, Space<T> space) where T : struct
        {
            return new InfoKey<T>(Add(Native.FERRY_INFO, key, space));
        }

        int Add<T>(int role, string path, Space<T> space) where T : struct
        {
            var field = new Field(path, space.Shape, Bytes(space.LowEach), Bytes(space.HighEach));
            if (space.Shape.Length > Native.FERRY_MAX_NDIM)
                throw new FerryException(Error.Spec,
                    $"field '{path}' has {space.Shape.Length} dimensions, and may have {Native.FERRY_MAX_NDIM}");
            if (space.LowEach != null && (space.LowEach.Length != field.NumElements || space.HighEach.Length != field.NumElements))
                throw new FerryException(Error.Spec, $"field '{path}' has {field.NumElements} elements, with {space.LowEach.Length} " +
                    $"lower and {space.HighEach.Length} upper bounds");
            field.Role = (byte)role;
            field.Kind = space.Kind;
            field.Dtype = Dtype<T>.Code;
            field.Low = space.Low;
            field.High = space.High;
            field.N = space.N;
            field.Start = space.Start;
            field.Capacity = space.Capacity;
            fields.Add(field);
            return fields.Count - 1;
        }

        static byte[] Bytes<T>(T[] values) where T : struct
        {
            if (values == null) return null;
            var bytes = new byte[Buffer.ByteLength(values)];
            Buffer.BlockCopy(values, 0, bytes, 0, bytes.Length);
            return bytes;
        }

        /// <summary>
        /// Checks the description and takes the address: a name, a path, serve:WHERE, connect:WHERE or fd:N. Waits for nobody. The
        /// variable FERRY_ADDRESS takes precedence; without an address it must be there.
        /// </summary>
        public Env Open(string address = null)
        {
            using (var memory = new Memory())
            {
                Native.ferry_env_desc desc = default(Native.ferry_env_desc);
                var c = (Native.ferry_field*)memory.Take(Math.Max(1, fields.Count) * sizeof(Native.ferry_field));
                for (int i = 0; i < fields.Count; i++) fields[i].Fill(&c[i], memory);
                desc.struct_size = (uint)sizeof(Native.ferry_env_desc);
                desc.num_rows = NumRows;
                desc.address = memory.Text(address);
                desc.name = memory.Text(Name);
                desc.fields = c;
                desc.num_fields = (uint)fields.Count;
                desc.blob_format = (uint)BlobFormat;
                if (About != null)
                {
                    desc.about.data = memory.Text(About);
                    desc.about.size_bytes = (ulong)Encoding.UTF8.GetByteCount(About);
                    desc.about.format = Native.FERRY_JSON;
                }
                desc.blob_bytes = BlobBytes;
                desc.max_bytes = MaxBytes;
                desc.takes_calls = TakesCalls ? 1u : 0;
                desc.max_episode_steps = MaxEpisodeSteps;
                desc.rows_tick_together = RowsTickTogether ? 1u : 0;
                desc.index = -1;
                return new Env(&desc, fields.ToArray(), Log);
            }
        }
    }

    /// <summary>A field as C wants it, but for pointers; and what a key is checked against.</summary>
    internal sealed unsafe class Field
    {
        internal readonly long NumElements = 1;
        internal byte Role, Kind, Dtype;
        internal double Low, High;
        internal long N, Start;
        internal uint Capacity;
        readonly string path;
        readonly uint[] shape;
        readonly byte[] lowEach, highEach;

        internal Field(string path, uint[] shape, byte[] lowEach, byte[] highEach)
        {
            this.path = path;
            this.shape = (uint[])shape.Clone();
            this.lowEach = lowEach;
            this.highEach = highEach;
            foreach (uint n in shape) NumElements = NumElements * n;
        }

        internal void Fill(Native.ferry_field* c, Memory memory)
        {
            c->path = memory.Text(path);
            c->role = Role;
            c->kind = Kind;
            c->dtype = Dtype;
            c->ndim = (byte)shape.Length;
            for (int i = 0; i < shape.Length; i++) c->shape[i] = shape[i];
            c->low = Low;
            c->high = High;
            c->low_each = memory.Copy(lowEach);
            c->high_each = memory.Copy(highEach);
            c->n = N;
            c->start = Start;
            c->capacity = Capacity;
        }
    }

    /// <summary>Native memory, zeroed, until it is disposed of.</summary>
    internal sealed unsafe class Memory : IDisposable
    {
        readonly List<IntPtr> taken = new List<IntPtr>();

        internal void* Take(int bytes)
        {
            IntPtr at = Marshal.AllocHGlobal(bytes);
            taken.Add(at);
            for (int i = 0; i < bytes; i++) ((byte*)at)[i] = 0;
            return (void*)at;
        }

        internal void* Copy(byte[] bytes)
        {
            if (bytes == null) return null;
            void* at = Take(bytes.Length + 1);
            Marshal.Copy(bytes, 0, (IntPtr)at, bytes.Length);
            return at;
        }

        /// <summary>As C has it.</summary>
        internal byte* Text(string text)
        {
            if (text == null) return null;
            if (text.IndexOf('\0') >= 0)
                throw new FerryException(Error.InvalidArgument, $"'{text.Replace("\0", "\\0")}' has a zero character in it");
            return (byte*)Copy(Encoding.UTF8.GetBytes(text));
        }

        public void Dispose()
        {
            foreach (IntPtr at in taken) Marshal.FreeHGlobal(at);
            taken.Clear();
        }
    }

    /// <summary>An open environment. Disposed of, it says goodbye and gives up its address.</summary>
    public sealed unsafe class Env : IDisposable
    {
        /// <summary>A time-out that never comes.</summary>
        public const long Forever = Native.FERRY_FOREVER;

        internal readonly Field[] Fields;
        internal readonly int NumRows;
        /// <summary>Which turn may be used: others, of which copies may still be about, have another number.</summary>
        internal ulong Current;
        Native.ferry_env* handle;
        GCHandle log;

        internal Env(Native.ferry_env_desc* desc, Field[] fields, Action<Level, string> log)
        {
            Native.ferry_env* opened;
            Native.ferry_why why;
            Fields = fields;
            NumRows = (int)Math.Max(1, desc->num_rows);
            if (log != null)
            {
                this.log = GCHandle.Alloc(log);
                desc->log = Logger.Pointer;
                desc->log_user = (void*)GCHandle.ToIntPtr(this.log);
            }
            int code = Native.ferry_env_open(desc, &opened, &why);
            handle = opened;
            if (code < 0)
            {
                Dispose();
                throw new FerryException((Error)code, Utf8.Of(why.text));
            }
        }

        /// <summary>For who forgets to dispose; the finalizer's thread is then the only one that has the handle.</summary>
        ~Env() { Close(); }

        public void Dispose()
        {
            Close();
            GC.SuppressFinalize(this);
        }

        void Close()
        {
            Current++;
            if (Logger.IsForwarding) throw new InvalidOperationException("a log may not dispose of the environment that it is told of");
            Native.ferry_env* last = handle;
            handle = null;
            if (last != null) Native.ferry_env_close(last);
            if (log.IsAllocated) log.Free(); // closing may log
        }

        internal Native.ferry_env* Handle
        {
            get
            {
                if (handle == null) throw new ObjectDisposedException("Ferry.Env");
                return handle;
            }
        }

        /// <summary>
        /// Waits for the agent's next turn, or for an agent: for so many nanoseconds, 0 not at all, <see cref="Forever"/>. False: not yet.
        /// While a turn is unanswered it may look (0) whether the agent has left, and not wait.
        /// </summary>
        public bool Wait(long timeoutNs, out Turn turn)
        {
            Native.ferry_turn* c;
            int got = Native.ferry_env_wait(Handle, timeoutNs, &c);
            turn = default(Turn);
            if (got == 0) return false;
            if (got < 0) throw Failure(got);
            turn = new Turn(this, c, ++Current);
            return true;
        }

        /// <summary>Whom it waits for and since when, or what went wrong last.</summary>
        public string Why
        {
            get
            {
                Native.ferry_why why;
                Native.ferry_env_why(Handle, &why);
                GC.KeepAlive(this);
                return Utf8.Of(why.text);
            }
        }

        internal FerryException Failure(int code) { return new FerryException((Error)code, Why); }
    }

    /// <summary>
    /// One message of the agent's, and room for the answer: a small value that may be kept until it is answered, over as many ticks as
    /// that takes. Whatever asks for a row means the first, unless told otherwise.
    /// </summary>
    public unsafe struct Turn
    {
        readonly Env env;
        readonly Native.ferry_turn* c;
        readonly ulong number;

        internal Turn(Env env, Native.ferry_turn* c, ulong number)
        {
            this.env = env;
            this.c = c;
            this.number = number;
        }

        /// <summary>The turn in C, if it is still this one.</summary>
        Native.ferry_turn* C
        {
            get
            {
                if (env == null || env.Current != number)
                    throw new InvalidOperationException("this turn is over: it was answered, its agent has left, or its env is closed");
                return c;
            }
        }

        /// <summary>What the turn is about.</summary>
        public Kind Kind { get { return (Kind)C->kind; } }
        /// <summary>Counts the channel's turns, from 1.</summary>
        public ulong Number { get { return C->number; } }
        /// <summary>The agent's process; 0 if unknown.</summary>
        public uint PeerPid { get { return C->peer_pid; } }
        /// <summary>Left: Closed, PeerDead, or what ended the connection.</summary>
        public Error Reason { get { return (Error)C->reason; } }
        /// <summary>How many rows the turn is about.</summary>
        public int NumRows { get { return (int)C->num_rows; } }

        /// <summary>The number of the i-th row that the turn is about; they ascend.</summary>
        public int Row(int i)
        {
            if ((uint)i >= C->num_rows) throw new ArgumentOutOfRangeException("i");
            return (int)c->rows[i];
        }

        /// <summary>What the blob is: options of a reset, the request of a call, or None.</summary>
        public Format BlobFormat { get { return (Format)C->blob.format; } }

        /// <summary>Options of a reset, or the request of a call.</summary>
        public ReadOnlySpan<byte> Blob
        {
            get
            {
                return C->blob.format == Native.FERRY_NONE
                    ? default(ReadOnlySpan<byte>) : new ReadOnlySpan<byte>(c->blob.data, checked((int)c->blob.size_bytes));
            }
        }

        /// <summary>The blob as text, for JSON. This one allocates.</summary>
        public string BlobText
        {
            get { return Blob.Length == 0 ? "" : Encoding.UTF8.GetString((byte*)c->blob.data, Blob.Length); }
        }

        /// <summary>The seed that a reset was given, or -1.</summary>
        public long Seed(int row = 0) { return Wanted(row)->seed[row]; }

        /// <summary>How many resets there have been.</summary>
        public ulong Episode(int row = 0) { return Wanted(row)->episode[row]; }

        /// <summary>The reward of a step; 0 unless it is set.</summary>
        public void SetReward(double reward, int row = 0) { Wanted(row)->reward[row] = reward; }

        /// <summary>Whether the step has brought the episode to its end; false unless it is set.</summary>
        public void SetTerminated(bool terminated, int row = 0) { Wanted(row)->terminated[row] = (byte)(terminated ? 1 : 0); }

        /// <summary>Whether the episode is broken off; false unless it is set.</summary>
        public void SetTruncated(bool truncated, int row = 0) { Wanted(row)->truncated[row] = (byte)(truncated ? 1 : 0); }

        /// <summary>An action, checked by the library: a Discrete is one of its numbers, a Box lies within its bounds.</summary>
        public ReadOnlySpan<T> Get<T>(ActionKey<T> key, int row = 0) where T : struct
        {
            Field field = Checked<T>(key.Field, Native.FERRY_ACTION, false);
            return new ReadOnlySpan<T>(At(key.Field, row), (int)field.NumElements);
        }

        /// <summary>Room for an observation. It holds what was written two turns ago: fill it whole.</summary>
        public Span<T> Get<T>(ObservationKey<T> key, int row = 0) where T : struct
        {
            Field field = Checked<T>(key.Field, Native.FERRY_OBSERVATION, false);
            return new Span<T>(At(key.Field, row), (int)field.NumElements);
        }

        /// <summary>Room for an entry of the info dict, which is given by asking for it.</summary>
        public Span<T> Get<T>(InfoKey<T> key, int row = 0) where T : struct
        {
            Field field = Checked<T>(key.Field, Native.FERRY_INFO, false);
            var info = new Span<T>(At(key.Field, row), (int)field.NumElements);
            c->present[key.Field][row] = 1;
            return info;
        }

        /// <summary>Sets an observation that is one number, as that of a Discrete.</summary>
        public void Set<T>(ObservationKey<T> key, T value, int row = 0) where T : struct
        {
            Span<T> observation = Get(key, row);
            observation[0] = value;
        }

        /// <summary>Sets an entry of the info dict that is one number.</summary>
        public void Set<T>(InfoKey<T> key, T value, int row = 0) where T : struct
        {
            Span<T> info = Get(key, row);
            info[0] = value;
        }

        /// <summary>The elements of a Sequence or the bytes of a Text; false if they are too many, and travel in the blob.</summary>
        public bool TryGetList<T>(ActionKey<T> key, out ReadOnlySpan<T> elements, int row = 0) where T : struct
        {
            Field field = Checked<T>(key.Field, Native.FERRY_ACTION, true);
            var head = (Native.ferry_list*)At(key.Field, row);
            uint count = head->count;
            elements = default(ReadOnlySpan<T>);
            if (count == Native.FERRY_IN_BLOB) return false;
            elements = new ReadOnlySpan<T>(head + 1, checked((int)(Math.Min(count, field.Capacity) * field.NumElements)));
            return true;
        }

        /// <summary>Sets the elements of a Sequence or the bytes of a Text.</summary>
        public void SetList<T>(ObservationKey<T> key, ReadOnlySpan<T> elements, int row = 0) where T : struct
        {
            PutList(Checked<T>(key.Field, Native.FERRY_OBSERVATION, true), At(key.Field, row), elements);
        }

        /// <summary>Sets the elements of a Sequence or the bytes of a Text.</summary>
        public void SetList<T>(InfoKey<T> key, ReadOnlySpan<T> elements, int row = 0) where T : struct
        {
            PutList(Checked<T>(key.Field, Native.FERRY_INFO, true), At(key.Field, row), elements);
            c->present[key.Field][row] = 1;
        }

        static void PutList<T>(Field field, void* at, ReadOnlySpan<T> elements) where T : struct
        {
            var head = (Native.ferry_list*)at;
            long count = elements.Length / Math.Max(1, field.NumElements);
            if (count > field.Capacity || count * field.NumElements != elements.Length)
                throw new ArgumentException($"there is room for {field.Capacity} elements of {field.NumElements} numbers, " +
                    $"not for {elements.Length} numbers");
            elements.CopyTo(new Span<T>(head + 1, elements.Length));
            head->count = (uint)count;
        }

        /// <summary>
        /// Gives bytes along with the answer: of a reset or step the info, a map; of a call what it returns. The map of an env with more
        /// than one row is from numbers of rows to infos.
        /// </summary>
        public void Attach(Format format, byte[] bytes)
        {
            Native.ferry_turn* turn = C;
            fixed (byte* data = bytes)
            {
                Native.ferry_blob blob = default(Native.ferry_blob);
                blob.data = data;
                blob.size_bytes = (ulong)bytes.Length;
                blob.format = (uint)format;
                Check(Native.ferry_env_blob(env.Handle, &blob)); // it is copied at once
            }
        }

        /// <summary>Gives JSON along with the answer. This one allocates.</summary>
        public void Attach(string json) { Attach(Format.Json, Encoding.UTF8.GetBytes(json)); }

        /// <summary>Publishes the answer. Waits for nobody, and does not mind if the agent has left.</summary>
        public void Reply()
        {
            Native.ferry_turn* turn = C;
            env.Current++;
            Check(Native.ferry_env_reply(env.Handle));
        }

        /// <summary>Answers that it has failed, and why. The agent must reset next; after a call it goes on.</summary>
        public void Fail(string text)
        {
            Attach(Format.Text, Encoding.UTF8.GetBytes(text)); // which, unlike a string of C's, needs no zero at its end
            env.Current++;
            Check(Native.ferry_env_fail(env.Handle, null));
        }

        void Check(int code)
        {
            if (code < 0) throw env.Failure(code);
            GC.KeepAlive(env); // else its finalizer might run while C has the handle
        }

        Native.ferry_turn* Wanted(int row)
        {
            if ((uint)row >= (uint)env.NumRows || C->kind == Native.FERRY_LEFT)
                throw new ArgumentOutOfRangeException("row", $"row {row} is not in this turn");
            return c;
        }

        void* At(int field, int row) { return (byte*)Wanted(row)->data[field] + c->stride[field] * (ulong)row; }

        /// <summary>What a key names, if it may be seen as that.</summary>
        Field Checked<T>(int index, int role, bool isList) where T : struct
        {
            Native.ferry_turn* turn = C;
            Field field = env.Fields[index];
            if (field.Role != role || field.Dtype != Dtype<T>.Code || (field.Capacity > 0) != isList)
                throw new ArgumentException("the key belongs to another spec, or is that of a list", "key");
            return field;
        }
    }

    internal static unsafe class Utf8
    {
        internal static string Of(byte* text)
        {
            int length = 0;
            while (text[length] != 0) length++;
            return length == 0 ? "" : Encoding.UTF8.GetString(text, length);
        }
    }

    /// <summary>IL2CPP makes functions that C can call of static methods with an attribute of this name.</summary>
    [AttributeUsage(AttributeTargets.Method)]
    internal sealed class MonoPInvokeCallbackAttribute : Attribute
    {
        public MonoPInvokeCallbackAttribute(Type type) { }
    }

    internal static unsafe class Logger
    {
        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        delegate void Line(IntPtr user, int level, IntPtr text);

        static readonly Line line = Forward; // the collector must not take what C may call
        internal static readonly IntPtr Pointer = Marshal.GetFunctionPointerForDelegate(line);

        [ThreadStatic] static int depth;

        /// <summary>Whether this thread is inside a call of the library's that is telling a log something.</summary>
        internal static bool IsForwarding { get { return depth > 0; } }

        /// <summary>Runs on a stack of C, through which no exception may go.</summary>
        [MonoPInvokeCallback(typeof(Line))]
        static void Forward(IntPtr user, int level, IntPtr text)
        {
            depth++;
            try { ((Action<Level, string>)GCHandle.FromIntPtr(user).Target)((Level)level, Utf8.Of((byte*)text)); }
            catch (Exception error)
            {
                try { Console.Error.WriteLine("Ferry: the log has thrown " + error); }
                catch (Exception) { } // its text throws too, or nobody reads the errors
            }
            finally { depth--; }
        }
    }

    /// <summary>
    /// libferry.h as it is, for what is not above, such as the agent's side. The header is the manual;
    /// tests/engines/test_declarations.py compares every line with it. All structs are blittable: nothing is marshalled.
    /// </summary>
    public static unsafe class Native
    {
#if UNITY_IOS && !UNITY_EDITOR
        const string Library = "__Internal";
#else
        const string Library = "ferry";
#endif
        const CallingConvention C = CallingConvention.Cdecl;

        public const int FERRY_VERSION_MAJOR = 0, FERRY_VERSION_MINOR = 1, FERRY_VERSION_PATCH = 0;
        public const int FERRY_VERSION = FERRY_VERSION_MAJOR << 16 | FERRY_VERSION_MINOR << 8 | FERRY_VERSION_PATCH;

        // ferry_err
        public const int FERRY_OK = 0, FERRY_EINVAL = -1, FERRY_ESTATE = -2, FERRY_ENOMEM = -3, FERRY_ESYSTEM = -4, FERRY_EADDRESS = -5;
        public const int FERRY_EINUSE = -6, FERRY_EBUSY = -7, FERRY_EVERSION = -8, FERRY_EROLE = -9, FERRY_EPROTOCOL = -10;
        public const int FERRY_ESPEC = -11, FERRY_ETOOBIG = -12, FERRY_ECLOSED = -13, FERRY_EPEERDEAD = -14, FERRY_ECORRUPT = -15;
        public const int FERRY_EFORKED = -16, FERRY_EUNSUPPORTED = -17;

        // ferry_role, ferry_space, ferry_dtype
        public const int FERRY_OBSERVATION = 0, FERRY_ACTION = 1, FERRY_INFO = 2;
        public const int FERRY_BOX = 0, FERRY_DISCRETE = 1, FERRY_MULTI_DISCRETE = 2, FERRY_MULTI_BINARY = 3, FERRY_DICT = 4;
        public const int FERRY_TUPLE = 5, FERRY_STRING = 6, FERRY_OTHER = 7;
        public const int FERRY_DEFAULT = 0, FERRY_BOOL = 1, FERRY_I8 = 2, FERRY_U8 = 3, FERRY_I16 = 4, FERRY_U16 = 5, FERRY_I32 = 6;
        public const int FERRY_U32 = 7, FERRY_I64 = 8, FERRY_U64 = 9, FERRY_F16 = 10, FERRY_F32 = 11, FERRY_F64 = 12;

        // ferry_format, ferry_kind, ferry_status, ferry_autoreset, ferry_level
        public const int FERRY_NONE = 0, FERRY_JSON = 1, FERRY_MSGPACK = 2, FERRY_TEXT = 3, FERRY_VALUES = 4;
        public const int FERRY_STEP = 1, FERRY_RESET = 2, FERRY_LEFT = 3, FERRY_CALL = 4;
        public const int FERRY_ROW_OK = 0, FERRY_ROW_FAILED = 1, FERRY_ROW_REFUSED = 2;
        public const int FERRY_AUTORESET_DISABLED = 0, FERRY_AUTORESET_NEXT_STEP = 1, FERRY_AUTORESET_SAME_STEP = 2;
        public const int FERRY_LOG_DEBUG = 0, FERRY_LOG_INFO = 1, FERRY_LOG_WARNING = 2;

        public const int FERRY_MAX_NDIM = 8, FERRY_MAX_ROWS = 65536;
        public const uint FERRY_IN_BLOB = uint.MaxValue;
        public const ulong FERRY_MAX_BLOB = 256 << 20;
        public const long FERRY_FOREVER = -1;

        public struct ferry_why
        {
            public int code;
            public fixed byte text[1532];
        }

        public struct ferry_field
        {
            public byte* path;
            public byte role;
            public byte kind;
            public byte dtype;
            public byte ndim;
            public fixed uint shape[FERRY_MAX_NDIM];
            public double low;
            public double high;
            public void* low_each;
            public void* high_each;
            public long n;
            public long start;
            public uint capacity;
            public uint reserved;
        }

        public struct ferry_list
        {
            public uint count;
            public uint reserved;
        }

        public struct ferry_blob
        {
            public void* data;
            public ulong size_bytes;
            public uint format;
            public uint reserved;
        }

        public struct ferry_turn
        {
            public uint struct_size;
            public uint kind;
            public ulong number;
            public uint num_fields;
            public uint num_rows;
            public uint* rows;
            public void** data;
            public ulong* stride;
            public byte** present;
            public double* reward;
            public byte* terminated;
            public byte* truncated;
            public byte* status;
            public long* seed;
            public ulong* episode;
            public ferry_blob blob;
            public int reason;
            public uint peer_pid;
            public ferry_blob step_blob;
            public void** final_data;
            public byte** final_present;
            public ulong frame;
            public ulong answers;
            public long frame_ns;
            public long action_ns;
        }

        public struct ferry_env_desc
        {
            public uint struct_size;
            public uint num_rows;
            public byte* address;
            public byte* name;
            public ferry_field* fields;
            public uint num_fields;
            public uint blob_format;
            public ferry_blob about;
            public ulong blob_bytes;
            public ulong max_bytes;
            public IntPtr log;
            public void* log_user;
            public uint takes_calls;
            public uint max_episode_steps;
            public uint rows_tick_together;
            public int index;
            public uint realtime;
            public uint reserved;
        }

        public struct ferry_agent_desc
        {
            public uint struct_size;
            public uint autoreset;
            public byte* address;
            public ulong max_bytes;
            public IntPtr log;
            public void* log_user;
            public ferry_bell* bell;
            public ferry_agent* beside;
            public uint realtime;
            public uint reserved;
        }

        public struct ferry_observer_desc
        {
            public uint struct_size;
            public uint reserved;
            public byte* address;
            public ulong max_bytes;
            public IntPtr log;
            public void* log_user;
        }

        public struct ferry_snapshot
        {
            public uint struct_size;
            public uint blob_left_out;
            public ferry_turn* turn;
            public long time_ns;
            public double* returns;
            public ulong finished;
            public double finished_return;
        }

        public struct ferry_env { }
        public struct ferry_agent { }
        public struct ferry_bell { }
        public struct ferry_hold { }
        public struct ferry_observer { }

        [DllImport(Library, CallingConvention = C)] public static extern uint ferry_version();
        [DllImport(Library, CallingConvention = C)] public static extern byte* ferry_strerror(int err);
        [DllImport(Library, CallingConvention = C)] public static extern long ferry_now_ns();
        [DllImport(Library, CallingConvention = C)] public static extern uint ferry_dtype_bytes(int dtype);

        [DllImport(Library, CallingConvention = C)]
        public static extern int ferry_env_open(ferry_env_desc* desc, ferry_env** @out, ferry_why* why);
        [DllImport(Library, CallingConvention = C)]
        public static extern int ferry_env_wait(ferry_env* env, long timeout_ns, ferry_turn** @out);
        [DllImport(Library, CallingConvention = C)] public static extern int ferry_env_reply(ferry_env* env);
        [DllImport(Library, CallingConvention = C)] public static extern int ferry_env_fail(ferry_env* env, byte* text);
        [DllImport(Library, CallingConvention = C)] public static extern int ferry_env_blob(ferry_env* env, ferry_blob* blob);
        [DllImport(Library, CallingConvention = C)] public static extern void ferry_env_why(ferry_env* env, ferry_why* why);
        [DllImport(Library, CallingConvention = C)] public static extern void ferry_env_close(ferry_env* env);

        [DllImport(Library, CallingConvention = C)]
        public static extern int ferry_agent_open(ferry_agent_desc* desc, ferry_agent** @out, ferry_why* why);
        [DllImport(Library, CallingConvention = C)] public static extern int ferry_agent_connect(ferry_agent* agent, long timeout_ns);
        [DllImport(Library, CallingConvention = C)] public static extern ferry_env_desc* ferry_agent_env(ferry_agent* agent);
        [DllImport(Library, CallingConvention = C)] public static extern ferry_turn* ferry_agent_turn(ferry_agent* agent);
        [DllImport(Library, CallingConvention = C)] public static extern int ferry_agent_send(ferry_agent* agent);
        [DllImport(Library, CallingConvention = C)]
        public static extern int ferry_agent_wait(ferry_agent* agent, long timeout_ns, ferry_turn** @out);
        [DllImport(Library, CallingConvention = C)] public static extern int ferry_bell_open(ferry_bell** @out, ferry_why* why);
        [DllImport(Library, CallingConvention = C)] public static extern void ferry_bell_close(ferry_bell* bell);
        [DllImport(Library, CallingConvention = C)]
        public static extern int ferry_agent_wait_any(
            ferry_bell* bell, ferry_agent** agents, uint count, uint at_least, long timeout_ns, byte* ready);
        [DllImport(Library, CallingConvention = C)] public static extern void ferry_agent_why(ferry_agent* agent, ferry_why* why);
        [DllImport(Library, CallingConvention = C)] public static extern ferry_hold* ferry_agent_hold(ferry_agent* agent);
        [DllImport(Library, CallingConvention = C)] public static extern void ferry_release(ferry_hold* hold);
        [DllImport(Library, CallingConvention = C)] public static extern void ferry_agent_close(ferry_agent* agent);

        [DllImport(Library, CallingConvention = C)]
        public static extern int ferry_observer_open(ferry_observer_desc* desc, ferry_observer** @out, ferry_why* why);
        [DllImport(Library, CallingConvention = C)]
        public static extern int ferry_observer_snapshot(ferry_observer* observer, long timeout_ns, ferry_snapshot** @out);
        [DllImport(Library, CallingConvention = C)] public static extern ferry_env_desc* ferry_observer_env(ferry_observer* observer);
        [DllImport(Library, CallingConvention = C)] public static extern void ferry_observer_why(ferry_observer* observer, ferry_why* why);
        [DllImport(Library, CallingConvention = C)] public static extern void ferry_observer_close(ferry_observer* observer);
    }
}
