#!/usr/bin/env bash
# Measures dawnstream on a Linux x86-64 machine that has an NVIDIA driver and need have nothing else: no Node, no
# network.
#
#   bash bench/gpu.sh [FOLDER]      here: packs everything into FOLDER (bench/gpu-pack) and FOLDER.tar.xz
#   bash FOLDER/run.sh [RESULTS]    there: checks and measures; JSON and logs go to RESULTS (FOLDER/results)
#
# Packed are the compiled project with its run-time packages and fixtures, Dawn for Linux, this machine's Node, the Vulkan
# loader, and llama.cpp where bench/.peers has it (npm run bench -- decode --install-peers), which PEERS=no leaves out.
# Models are made there, from a seed.
set -euo pipefail

usage="usage: bash bench/gpu.sh [FOLDER]"
case "${1:-}" in
  -h | --help) echo "$usage" && exit ;;
  -*) echo "error: unknown option $1; $usage" >&2 && exit 2 ;;
esac
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${1:-$root/bench/gpu-pack}"
pack=$(cd "${1:-$root/bench/gpu-pack}" && pwd)
if [ "$(uname -sm)" != "Linux x86_64" ]; then
  echo "error: only a Linux x86-64 machine has the binaries to be packed." >&2
  exit 2
fi
if [ -n "$(ls -A "$pack")" ] && [ ! -f "$pack/run.sh" ]; then
  echo "error: $pack holds something else: give a folder that is new, or empty." >&2
  exit 2
fi
rm -rf "$pack" "$pack.tar.xz"
mkdir -p "$pack"/{bin,lib,app/test}

cd "$root"
npx tsc -p bench/tsconfig.json --outDir "$pack/app"
find src bench/lesson -name '*.wgsl' -exec cp --parents {} "$pack/app/" \;
cp package.json package-lock.json "$pack/app/"
cp -r models "$pack/app/"
mkdir -p "$pack/app/test/fixtures"
cp -r test/fixtures/golden test/fixtures/models "$pack/app/test/fixtures/"
(cd "$pack/app" && npm ci --omit=dev --ignore-scripts --no-audit --no-fund)
find "$pack/app/node_modules/webgpu/dist" -mindepth 1 -maxdepth 1 ! -name linux-x64 -exec rm -rf {} +
if [ "${PEERS:-yes}" = yes ] && [ -d bench/.peers/node_modules ]; then cp -r bench/.peers "$pack/app/bench/"; fi

cp "$(node -p process.execPath)" "$pack/bin/node"
for library in libvulkan.so.1 libstdc++.so.6 libgcc_s.so.1; do
  path=$(/sbin/ldconfig -p | awk -v name="$library" '$1 == name && /x86-64/ && !found++ { print $NF }')
  if [ -n "$path" ]; then cp -L "$path" "$pack/lib/"; else echo "warning: no $library to pack" >&2; fi
done
# NVIDIA's driver wants the neutral GL libraries, which a bare machine may lack.
if command -v apt-get >/dev/null; then
  debs=$(mktemp -d)
  (cd "$debs" && apt-get download libglvnd0 libglx0 libgl1 libegl1 libopengl0 libx11-6 libxext6 libxcb1 libxau6 libxdmcp6 libbsd0 libmd0) \
    || echo "warning: some GL libraries could not be fetched" >&2
  for deb in "$debs"/*.deb; do dpkg-deb -x "$deb" "$debs/root"; done
  cp -L "$debs"/root/usr/lib/x86_64-linux-gnu/*.so.* "$pack/lib/" 2>/dev/null || true
  rm -rf "$debs"
fi
cp bench/gpu-run.sh "$pack/run.sh"
XZ_OPT=-T0 tar -C "$(dirname "$pack")" -cJf "$pack.tar.xz" "$(basename "$pack")"
du -h "$pack.tar.xz"
echo "Take it to the other machine, and there: tar -xJf $(basename "$pack").tar.xz && bash $(basename "$pack")/run.sh"
