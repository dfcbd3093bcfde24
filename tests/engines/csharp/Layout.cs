// Prints what Ferry.Native declares, line by line: "struct size", "struct.field offset size", "constant value".

using System;
using System.Reflection;
using System.Runtime.InteropServices;

public static class Layout
{
    public static void Main()
    {
        foreach (Type type in typeof(Ferry.Native).GetNestedTypes())
        {
            FieldInfo[] fields = type.GetFields(BindingFlags.Instance | BindingFlags.Public);
            if (fields.Length == 0) continue; // opaque
            Console.WriteLine($"{type.Name} {Marshal.SizeOf(type)}");
            foreach (FieldInfo field in fields)
            {
                int size = field.FieldType.IsPointer ? IntPtr.Size : Marshal.SizeOf(field.FieldType);
                Console.WriteLine($"{type.Name}.{field.Name} {Marshal.OffsetOf(type, field.Name)} {size}");
            }
        }
        foreach (FieldInfo field in typeof(Ferry.Native).GetFields(BindingFlags.Static | BindingFlags.Public))
            Console.WriteLine($"{field.Name} {field.GetRawConstantValue()}");
    }
}
