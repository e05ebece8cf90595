using System.Text;

namespace DispLlm.Tests.Kernels;

/// <summary>The smallest ELF file that has version needs: header, names, symbols, symbol versions, needs, section headers.</summary>
internal static class SyntheticElf
{
    /// <summary>Builds a file that takes symbols, each with its version, from <c>libstdc++.so.6</c>.</summary>
    public static byte[] Build(params (string Version, string Symbol)[] imports)
    {
        var names = new MemoryStream();
        names.WriteByte(0);
        uint Name(string text)
        {
            uint at = (uint)names.Position;
            names.Write(Encoding.UTF8.GetBytes(text + "\0"));
            return at;
        }

        string[] versions = [.. imports.Select(import => import.Version).Distinct()];
        byte[] symbols = Bytes(w =>
        {
            w.Write(new byte[24]);
            foreach (var (_, symbol) in imports)
            {
                w.Write(Name(symbol));
                w.Write(new byte[20]);
            }
        });
        byte[] symbolVersions = Bytes(w =>
        {
            w.Write((ushort)0);
            foreach (var (version, _) in imports)
            {
                w.Write((ushort)(2 + Array.IndexOf(versions, version)));
            }
        });
        byte[] needs = Bytes(w =>
        {
            w.Write((ushort)1);
            w.Write((ushort)versions.Length);
            w.Write(Name("libstdc++.so.6"));
            w.Write(16u);
            w.Write(0u);
            for (int v = 0; v < versions.Length; v++)
            {
                w.Write(0x1234u);
                w.Write((ushort)0);
                w.Write((ushort)(2 + v));
                w.Write(Name(versions[v]));
                w.Write(v + 1 < versions.Length ? 16u : 0u);
            }
        });

        // Section numbers: 1 names, 2 symbols, 3 symbol versions, 4 needs. Fields: type, link, info, content.
        (uint Type, uint Link, uint Info, byte[] Content)[] sections =
            [(0, 0, 0, []), (3, 0, 0, names.ToArray()), (11, 1, 0, symbols), (0x6fffffff, 2, 0, symbolVersions), (0x6ffffffe, 1, 1, needs)];
        long table = 64 + sections.Sum(section => (long)section.Content.Length);
        return Bytes(w =>
        {
            w.Write([0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            w.Write(new byte[0x28 - 16]);
            w.Write(table);
            w.Write(new byte[0x3A - 0x30]);
            w.Write((ushort)64);
            w.Write((ushort)sections.Length);
            w.Write((ushort)0);
            foreach (var section in sections)
            {
                w.Write(section.Content);
            }

            long at = 64;
            foreach (var section in sections)
            {
                w.Write(0u);
                w.Write(section.Type);
                w.Write(new byte[16]);
                w.Write(at);
                w.Write((long)section.Content.Length);
                w.Write(section.Link);
                w.Write(section.Info);
                w.Write(new byte[16]);
                at += section.Content.Length;
            }
        });
    }

    private static byte[] Bytes(Action<BinaryWriter> write)
    {
        using var stream = new MemoryStream();
        using var writer = new BinaryWriter(stream);
        write(writer);
        writer.Flush();
        return stream.ToArray();
    }
}
