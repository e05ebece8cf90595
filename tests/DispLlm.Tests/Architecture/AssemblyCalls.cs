using System.Collections.Immutable;
using System.Reflection;
using System.Reflection.Emit;
using System.Reflection.Metadata;
using System.Reflection.Metadata.Ecma335;
using System.Reflection.PortableExecutable;

namespace DispLlm.Tests.Architecture;

/// <summary>Which methods the methods of an assembly call, read from its instructions. A method is written as
/// <c>Type.Name(Parameter,Parameter)</c>.</summary>
internal sealed class AssemblyCalls : IDisposable
{
    private static readonly Dictionary<ushort, OpCode> s_codes = typeof(OpCodes).GetFields(BindingFlags.Public | BindingFlags.Static)
        .Select(field => (OpCode)field.GetValue(null)!).ToDictionary(code => (ushort)code.Value);

    private readonly PEReader _file;
    private readonly MetadataReader _names;

    public AssemblyCalls(Assembly assembly)
    {
        _file = new PEReader(File.OpenRead(assembly.Location));
        _names = _file.GetMetadataReader();
    }

    public void Dispose() => _file.Dispose();

    /// <summary>Each method that has instructions, with those that it calls.</summary>
    public IEnumerable<(string Method, string[] Calls)> All() =>
        from handle in _names.MethodDefinitions
        let method = _names.GetMethodDefinition(handle)
        where method.RelativeVirtualAddress != 0
        select (Name(handle), Called(_file.GetMethodBody(method.RelativeVirtualAddress).GetILReader()).Distinct().ToArray());

    private IEnumerable<string> Called(BlobReader code)
    {
        var calls = new List<string>();
        while (code.RemainingBytes > 0)
        {
            ushort value = code.ReadByte();
            var operand = s_codes[value == 0xFE ? (ushort)((value << 8) | code.ReadByte()) : value].OperandType;
            if (operand == OperandType.InlineMethod)
            {
                calls.Add(Name(MetadataTokens.EntityHandle(code.ReadInt32())));
                continue;
            }

            int length = operand switch
            {
                OperandType.InlineNone => 0,
                OperandType.ShortInlineBrTarget or OperandType.ShortInlineI or OperandType.ShortInlineVar => 1,
                OperandType.InlineVar => 2,
                OperandType.InlineI8 or OperandType.InlineR => 8,
                OperandType.InlineSwitch => 4 * code.ReadInt32(),
                _ => 4,
            };
            code.Offset += length;
        }

        return calls;
    }

    private string Name(EntityHandle handle)
    {
        string Text(EntityHandle type, StringHandle name, MethodSignature<string> signature) =>
            $"{TypeName(type)}.{_names.GetString(name)}({string.Join(',', signature.ParameterTypes)})";

        switch (handle.Kind)
        {
            case HandleKind.MethodDefinition:
                var defined = _names.GetMethodDefinition((MethodDefinitionHandle)handle);
                return Text(defined.GetDeclaringType(), defined.Name, defined.DecodeSignature(new TypeNames(), null));
            case HandleKind.MemberReference:
                var referred = _names.GetMemberReference((MemberReferenceHandle)handle);
                return Text(referred.Parent, referred.Name, referred.DecodeMethodSignature(new TypeNames(), null));
            case HandleKind.MethodSpecification:
                return Name(_names.GetMethodSpecification((MethodSpecificationHandle)handle).Method);
            default:
                return handle.Kind.ToString();
        }
    }

    private string TypeName(EntityHandle handle)
    {
        switch (handle.Kind)
        {
            case HandleKind.TypeDefinition:
                var defined = _names.GetTypeDefinition((TypeDefinitionHandle)handle);
                string around = defined.GetDeclaringType().IsNil ? string.Empty : TypeName(defined.GetDeclaringType()) + "+";
                return around + _names.GetString(defined.Name);
            case HandleKind.TypeReference:
                var referred = _names.GetTypeReference((TypeReferenceHandle)handle);
                string outer = referred.ResolutionScope.Kind == HandleKind.TypeReference
                    ? TypeName(referred.ResolutionScope) + "+"
                    : string.Empty;
                return outer + _names.GetString(referred.Name);
            default:
                return handle.Kind.ToString();
        }
    }

    /// <summary>Types in signatures, by their bare names.</summary>
    private sealed class TypeNames : ISignatureTypeProvider<string, object?>
    {
        public string GetArrayType(string elementType, ArrayShape shape) => elementType + "[,]";

        public string GetByReferenceType(string elementType) => elementType + "&";

        public string GetFunctionPointerType(MethodSignature<string> signature) => "*()";

        public string GetGenericInstantiation(string genericType, ImmutableArray<string> typeArguments) =>
            $"{genericType}<{string.Join(',', typeArguments)}>";

        public string GetGenericMethodParameter(object? genericContext, int index) => "!!" + index;

        public string GetGenericTypeParameter(object? genericContext, int index) => "!" + index;

        public string GetModifiedType(string modifier, string unmodifiedType, bool isRequired) => unmodifiedType;

        public string GetPinnedType(string elementType) => elementType;

        public string GetPointerType(string elementType) => elementType + "*";

        public string GetPrimitiveType(PrimitiveTypeCode typeCode) => typeCode.ToString();

        public string GetSZArrayType(string elementType) => elementType + "[]";

        public string GetTypeFromDefinition(MetadataReader reader, TypeDefinitionHandle handle, byte rawTypeKind) =>
            reader.GetString(reader.GetTypeDefinition(handle).Name);

        public string GetTypeFromReference(MetadataReader reader, TypeReferenceHandle handle, byte rawTypeKind) =>
            reader.GetString(reader.GetTypeReference(handle).Name);

        public string GetTypeFromSpecification(
            MetadataReader reader, object? genericContext, TypeSpecificationHandle handle, byte rawTypeKind) => "specified";
    }
}
