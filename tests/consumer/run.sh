#!/usr/bin/env bash
# Tries the packages as an application would that has nothing else: packs them, restores and builds two programs outside the solution on a package
# cache of their own, and runs them: the code of README.md and docs/, services, an own family, and the error where the native half is missing.
# Then installs the command-line tool from its packages and runs it.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

rm -rf "$root/artifacts/packages"
for project in DispLlm DispLlm.Export DispLlm.Extensions.DependencyInjection DispLlm.Charts; do
  dotnet pack "$root/src/$project" -c Release --nologo -v quiet
done
version="$(dotnet msbuild "$root/src/DispLlm" -getProperty:PackageVersion)"

# The cache is new and empty. What the machine has unpacked already (libtorch is most of a gigabyte) is read where it lies, and linked, not copied.
unpacked="$(dotnet nuget locals global-packages --list | sed 's/^[^:]*: *//')"
export NUGET_PACKAGES="$work/packages"
dotnet build "$here/Consumer.slnx" -c Release --nologo -v quiet --artifacts-path "$work/build" \
  -p:DispLlmVersion="$version" -p:RestoreFallbackFolders="$unpacked" -p:CreateHardLinksForCopyLocalIfPossible=true
for package in displlm displlm.export displlm.extensions.dependencyinjection displlm.charts; do
  grep -q 'artifacts[\\/]*packages' "$NUGET_PACKAGES/$package/$version/.nupkg.metadata" ||
    { echo "$package $version was not restored from $root/artifacts/packages; is it in $unpacked?" >&2; exit 1; }
done

# The models and texts that the pages name: small ones.
mkdir -p "$work/app/models" && cd "$work/app"
for model in Llama-2-7b-hf SmolLM2-135M; do
  ln -s "$root/samples/PruneFirstModel/model" "models/$model"
done
ln -s "$root/samples/AddYourOwnFamily/model" models/seed-oss
cat "$root"/docs/*.md | tee wiki.train.txt > calibration.txt
cp "$root/docs/method.md" test.txt

dotnet "$work/build/bin/Consumer/release/Consumer.dll"
dotnet "$work/build/bin/WithoutNatives/release/WithoutNatives.dll"

# The tool, for this platform alone. Its outer package names only that one, so it is packed into a folder that nobody publishes from.
export NUGET_PACKAGES="$unpacked"
platform="$(dotnet msbuild "$root/src/DispLlm.Tool" -getProperty:NETCoreSdkPortableRuntimeIdentifier)"
dotnet pack "$root/src/DispLlm.Tool" -c Release --nologo -v quiet -p:ToolPackageRuntimeIdentifiers="$platform" -p:PackageOutputPath="$work/tool"
dotnet tool install DispLlm.Tool --version "$version" --source "$work/tool" --tool-path "$work/bin"
displlm="$work/bin/displlm"
[[ "$("$displlm" --version)" == "$version"* ]] || { echo "displlm --version does not say $version." >&2; exit 1; }
[[ "$("$displlm" --help)" == *"displlm prune"* ]] || { echo "displlm --help does not name its verbs." >&2; exit 1; }
"$displlm" generate models/SmolLM2-135M "Once upon a time" --tokens 4
"$displlm" export models/SmolLM2-135M --to gguf --type q8_0 -o exported.gguf
echo "consumer: ok"
