import { create } from "webgpu";
import { UserError } from "../errors.ts";

interface GpuOptions {
  /** Dawn's own switches, such as `backend=null` or `enable-dawn-features=use_vulkan_memory_model`. */
  readonly flags?: readonly string[];
}

/** No adapter was found: a driver is missing, and set-up installs one if it can. */
export class NoAdapterError extends UserError {
  override readonly name = "NoAdapterError";

  constructor() {
    super(
      "No WebGPU adapter found: run `npm run setup` " +
        "(`npx dawnstream setup` where dawnstream is an installed package), which installs a driver.",
    );
  }
}

/**
 * Starts Dawn, also with the switches of `DAWNSTREAM_DAWN_FLAGS` (separated by blanks), so that
 * existing commands can measure the effect of a toggle.
 *
 * The returned object *is* Dawn. The owner of a device must hold it in a field as long as the
 * device, or anything made by it, is in use: nothing else references it, and once it is
 * garbage-collected Dawn's event loop crashes the process. The owner must also drop it afterwards:
 * while it is reachable from a global, Node does not exit.
 */
export function openGpu(options: GpuOptions = {}): GPU {
  // Dawn uses only the last of several flags with one name.
  const values = new Map<string, string[]>();
  for (const flag of [
    EXACT_TIMESTAMPS,
    SUBGROUP_MATRICES,
    F16_ON_NVIDIA,
    ...(process.env.DAWNSTREAM_DAWN_FLAGS?.split(" ").filter(Boolean) ?? []),
    ...(options.flags ?? []),
  ]) {
    const at = flag.indexOf("=");
    const [name, value] = [flag.slice(0, at), flag.slice(at + 1)];
    values.set(name, [...(values.get(name) ?? []), value]);
  }
  return create([...values].map(([name, all]) => `${name}=${all.join()}`));
}

// For a driver without a limit for dynamic buffers, such as llvmpipe, Dawn prints two lines about
// `maxDynamic…BuffersPerPipelineLayout` when it looks for adapters. They go straight to file
// descriptor 2: no toggle, requested limit, callback or environment variable of Dawn's (Limits.cpp,
// Log.cpp) turns them off, and replacing the descriptor meanwhile would lose other output.
// README.md says that they mean nothing.

/**
 * Without it Dawn hides features that are in no standard yet, such as subgroup matrices: see
 * `matmul-matrices`.
 */
const SUBGROUP_MATRICES = "enable-dawn-features=allow_unsafe_apis";

/**
 * Dawn withholds `shader-f16` from every NVIDIA GPU on Vulkan unless this is on
 * (crbug.com/42251215: conformance tests failed), and with it all subgroup matrices of halves, that
 * is the tensor cores. On other adapters it changes nothing. Only `matmul-matrices` uses halves so,
 * and it is used only after `tryMatrices` has compared its results bit by bit.
 */
const F16_ON_NVIDIA = "enable-dawn-features=vulkan_enable_f16_on_nvidia";

/** Browsers round timestamps to 0.1 ms for privacy; a profile needs the full precision. */
const EXACT_TIMESTAMPS = "disable-dawn-features=timestamp_quantization";

/** The adapter Dawn prefers. Throws `NoAdapterError` if there is none. */
export async function requestAdapter(
  gpu: GPU,
  options: GPURequestAdapterOptions = {},
): Promise<GPUAdapter> {
  const adapter = await gpu.requestAdapter(options);
  if (!adapter) throw new NoAdapterError();
  return adapter;
}

const MIB = 2 ** 20;

/**
 * One line that describes the adapter and the features that the engine uses. Dawn does not name its
 * backend; the driver's name shows it.
 */
export function describeAdapter(adapter: GPUAdapter): string {
  const { info, features, limits } = adapter;
  return [
    info.device.replace(/-$/, ""), // Dawn makes `llvm-256-bits-` of `(LLVM, 256 bits)`
    [info.vendor, info.architecture].filter(Boolean).join("/"),
    info.description,
    features.has("subgroups") ? `subgroups of ${subgroupSizes(info)}` : "no subgroups",
    features.has("shader-f16") ? "f16" : "no f16",
    `bindings up to ${Math.floor(limits.maxStorageBufferBindingSize / MIB)} MiB`,
  ]
    .filter(Boolean)
    .join(", ");
}

/** WebGPU promises sizes from 4 to 128 if an adapter does not say more. */
function subgroupSizes({ subgroupMinSize: low = 4, subgroupMaxSize: high = 128 }: GPUAdapterInfo) {
  return low === high ? `${low}` : `${low} to ${high}`;
}
