#!/usr/bin/env bash
# Measures dawnstream on a Linux x86-64 machine that has a graphics card with its driver, this checkout, and need have
# nothing else: no Node, no network.
#
#   bash bench/gpu.sh                            here: packs what the checkout lacks into bench/gpu-pack
#   bash bench/gpu-pack/run.sh RESULTS           there, in the checkout: checks and measures, in BUDGET seconds
#
# Packed are the compiled project with its run-time packages, Dawn for Linux, this machine's Node, the Vulkan loader and a
# layer that asks the driver for its compiler's statistics. Shipped models and fixtures come from the checkout, large models
# are written there from a seed. Checkout and pack together must not exceed LIMIT_MIB (64).
#
# --peers packs llama.cpp's Vulkan backend, too, 8 MiB (npm run bench -- decode --install-peers brings it): that just fits.
set -euo pipefail

usage="usage: bash bench/gpu.sh [--peers]"
peers=no
for argument in "$@"; do
  case $argument in
    -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" && echo "$usage" && exit ;;
    --peers) peers=yes ;;
    *) echo "error: unknown argument $argument; $usage" >&2 && exit 2 ;;
  esac
done
root=$(cd "$(dirname "$0")/.." && pwd)
pack=$root/bench/gpu-pack
limit=${LIMIT_MIB:-64}
if [ "$(uname -sm)" != "Linux x86_64" ]; then
  echo "error: only a Linux x86-64 machine has the binaries to be packed." >&2
  exit 2
fi
cd "$root"
if [ $peers = yes ] && [ ! -d bench/.peers/node_modules ]; then
  echo "error: llama.cpp is not here: npm run bench -- decode --install-peers" >&2
  exit 2
fi
rm -rf "$pack"
mkdir -p "$pack"
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$stage"/{bin,lib,layer,app/test}

npx tsc -p bench/tsconfig.json --outDir "$stage/app"
find src bench/lesson -name '*.wgsl' -exec cp --parents {} "$stage/app/" \;
cp package.json package-lock.json "$stage/app/"
(cd "$stage/app" && npm ci --omit=dev --ignore-scripts --no-audit --no-fund >&2)
find "$stage/app/node_modules/webgpu/dist" -mindepth 1 -maxdepth 1 ! -name linux-x64 -exec rm -rf {} +
# Pictures are drawn here.
rm -rf "$stage"/app/node_modules/{dejavu-fonts-ttf,@resvg,@webgpu/types,vega,vega-*,d3-*,topojson-client}
if [ $peers = yes ]; then
  cp -r bench/.peers "$stage/app/bench/"
  peer=$stage/app/bench/.peers/node_modules
  # Not its source, nor its CPU backend: a card is compared with the card. Of the processors that loading asks for, two.
  rm -rf "$peer"/node-llama-cpp/llama/gitRelease.bundle "$peer"/@node-llama-cpp/linux-x64
  find "$peer" -name 'libggml-cpu-*' ! -name '*-x64.so' ! -name '*-haswell.so' -delete
fi
find "$stage/app" '(' -name '*.map' -o -name '*.d.ts' ')' -delete

cp "$(node -p process.execPath)" "$stage/bin/node"
for library in libvulkan.so.1 libstdc++.so.6 libgcc_s.so.1; do
  path=$(/sbin/ldconfig -p | awk -v name="$library" '$1 == name && /x86-64/ && !found++ { print $NF }')
  if [ -n "$path" ]; then cp -L "$path" "$stage/lib/"; else echo "warning: no $library to pack" >&2; fi
done
# NVIDIA's driver wants the neutral GL libraries, which a bare machine may lack.
if command -v apt-get >/dev/null; then
  debs=$(mktemp -d)
  (cd "$debs" && apt-get download libglvnd0 libglx0 libgl1 libegl1 libopengl0 libx11-6 libxext6 libxcb1 libxau6 libxdmcp6 libbsd0 libmd0 >&2) \
    || echo "warning: some GL libraries could not be fetched" >&2
  for deb in "$debs"/*.deb; do dpkg-deb -x "$deb" "$debs/root"; done
  cp -L "$debs"/root/usr/lib/x86_64-linux-gnu/*.so.* "$stage/lib/" 2>/dev/null || true
  rm -rf "$debs"
fi
if gcc -O1 -shared -fPIC -o "$stage/layer/libstatistics.so" bench/gpu/statistics.c -lpthread; then
  cp bench/gpu/statistics.json "$stage/layer/"
else
  echo "warning: no compiler's statistics: they want gcc and libvulkan-dev" >&2
fi
# Symbols for debuggers are an eighth of it.
strip --strip-all "$stage/bin/node" "$stage/app/node_modules/webgpu/dist/linux-x64/dawn.node"

echo "Compressing $(du -sm "$stage" | cut -f1) MiB, which takes a minute or two" >&2
tar -C "$stage" -c . | xz -9 -T2 >"$pack/pack.tar.xz"
cp bench/gpu/run.sh "$pack/run.sh"

mib() { awk -v bytes="$1" 'BEGIN { printf "%.1f", bytes / 1048576 }'; }
tree=$(git ls-files -z --cached --others --exclude-standard | du -cb --files0-from=- | tail -n 1 | cut -f1)
packed=$(du -cb "$pack"/* | tail -n 1 | cut -f1)
echo "checkout $(mib "$tree") MiB, pack $(mib "$packed") MiB, together $(mib $((tree + packed))) of $limit MiB"
if [ $((tree + packed)) -gt $((limit * 1048576)) ]; then
  echo "error: that is more than travels." >&2
  exit 1
fi
echo "There, in the checkout: bash bench/gpu-pack/run.sh RESULTS"
