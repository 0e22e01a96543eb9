// Subgroup matrices for tests: few drivers have them, so each lane of a subgroup of eight imitates them, on any adapter.

import type { Platform } from "../../src/engine/run/session.ts";
import { SUBGROUP_MATRIX } from "../../src/kernels/gpu/device.ts";
import { withMethods } from "./engine.ts";
import { openDevice, shaderNames, shaderSource } from "./gpu.ts";

/** In place of `matrices`: every lane holds both factors, and of a product every eighth number. */
export const IMITATED = `
enable subgroups;
alias Tokens = array<f32, M * K>;
alias Rows = array<f32, N * K>;
alias Products = array<f32, M * N / 8u>;

fn tokens_at(offset: u32) -> Tokens {
  var m: Tokens;
  for (var i = 0u; i < M * K; i++) { m[i] = f32(x_tile[offset + i / K * PITCH + i % K]); }
  return m;
}

fn rows_at(offset: u32) -> Rows {
  var m: Rows;
  for (var i = 0u; i < N * K; i++) { m[i] = f32(w_tile[offset + i / K * PITCH + i % K]); }
  return m;
}

fn multiply(tokens: Tokens, rows: Rows, sums: Products) -> Products {
  let lane = subgroupExclusiveAdd(1u);
  var result = sums;
  for (var i = 0u; i < M * N / 8u; i++) {
    let at = 8u * i + lane;
    for (var k = 0u; k < K; k++) { result[i] += tokens[at / N * K + k] * rows[at % N * K + k]; }
  }
  return result;
}

fn store_products(offset: u32, sums: Products) {
  let lane = subgroupExclusiveAdd(1u);
  for (var i = 0u; i < M * N / 8u; i++) { staging[offset + 8u * i + lane] = sums[i]; }
}
`;
/** The shaders, but with imitated matrices. */
export const imitated = (name: string) =>
  name === "matrix/matrices/matrices" ? IMITATED : shaderSource(name);

/** Of the matrices that there are shaders for. */
export const SHAPES = shaderNames().flatMap((shader) => {
  const [, M, N, K] = (/^matrix\/matrices\/(\d+)x(\d+)x(\d+)$/.exec(shader) ?? []).map(Number);
  return K ? [{ M: M!, N: N!, K }] : [];
});

/** The shape of those that this adapter has itself. */
export async function ownShape() {
  await using device = await openDevice();
  return SHAPES.find(({ M, N, K }) =>
    device.matrixConfigs.some(
      (config) =>
        config.componentType === "f16" &&
        config.resultComponentType === "f32" &&
        config.M === M &&
        config.N === N &&
        config.K === K,
    ),
  );
}

/** A platform whose adapter is taken for a graphics card with matrices: with its own, or with imitated ones. */
export function withMatrices(platform: Platform, own: boolean): Platform {
  const config = { componentType: "f16", resultComponentType: "f32", M: 8, N: 8, K: 8 };
  const add = ({ features }: { readonly features: ReadonlySet<string> }) =>
    new Set([...features, SUBGROUP_MATRIX]);
  return {
    ...platform,
    shaders: own ? platform.shaders : imitated,
    requestAdapter: async (gpu) => {
      const adapter = await platform.requestAdapter(gpu);
      const info = {
        isFallbackAdapter: false,
        ...(own ? {} : { subgroupMatrixConfigs: [config] }),
      };
      const card = withMethods(adapter, { info: withMethods(adapter.info, info) });
      if (own) return card;
      const requestDevice = async (descriptor: GPUDeviceDescriptor) => {
        const all = [...(descriptor.requiredFeatures ?? [])] as string[];
        const requiredFeatures = all.filter((name) => name !== SUBGROUP_MATRIX) as GPUFeatureName[];
        const device = await adapter.requestDevice({ ...descriptor, requiredFeatures });
        return withMethods(device, { features: add(device) });
      };
      return withMethods(card, { features: add(adapter), requestDevice });
    },
  };
}
