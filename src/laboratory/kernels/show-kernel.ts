// The shaders of a kernel as assembled for this adapter, with the files that each consists of.

import type { Adapter } from "../../kernels/adapter/adapter.ts";
import type { Device } from "../../kernels/gpu/device.ts";
import {
  type Kernel,
  KernelLibrary,
  type KernelSpec,
  partsOf,
  type ShaderSource,
} from "../../kernels/gpu/kernel.ts";
import { ParamBlock } from "../../kernels/gpu/params.ts";
import { kernelCases, type Selection } from "./kernel-cases.ts";
import { Workbench } from "./workbench.ts";

export interface ShownShader {
  /** The name in profiles, such as "matvec.q4-k.storage.plain.plain.reduce". */
  readonly name: string;
  readonly parts: readonly { readonly file: string; readonly text: string }[];
  /** The values of its `override` declarations. */
  readonly overrides: Readonly<Record<string, number>>;
}

export interface ShownKernel {
  readonly kernel: string;
  readonly format: string;
  readonly shape: string;
  /** In the order in which they run. */
  readonly shaders: readonly ShownShader[];
}

/** The formats to show by default: that of most files, and the default of a cache. */
const USUAL_FORMATS = ["Q4_K", "f16"];

/** Remembers which specification a kernel was made from. */
class RecordingLibrary extends KernelLibrary {
  readonly specs = new Map<Kernel, KernelSpec>();

  override kernel(spec: KernelSpec): Kernel {
    const kernel = super.kernel(spec);
    this.specs.set(kernel, spec);
    return kernel;
  }
}

/**
 * The shaders of a kernel of the laboratory, for the number of tokens in `selection`. Throws a
 * `UserError` if there is no such kernel, or no such format of it.
 */
export async function showKernel(
  device: Device,
  adapter: Adapter,
  source: ShaderSource,
  selection: Selection,
  usual: { readonly n: number; readonly k: number },
): Promise<ShownKernel> {
  const cases = kernelCases(selection, usual);
  const common = cases.filter(({ format }) => USUAL_FORMATS.includes(format));
  // Cases of one token come before one of several; among them, the first has the fewest slots.
  const shown = (common.length > 0 ? common : cases).at(selection.tokens > 1 ? -1 : 0)!;
  const library = new RecordingLibrary(device, source);
  const bench = new Workbench(adapter, await ParamBlock.create(device, "params"), library);
  const prepared = await shown.prepare(bench);
  try {
    await library.ready();
    const dispatched = prepared.variants[0]!.map((dispatch) => dispatch.kernel);
    const shaders = [...new Set(dispatched)].map((kernel) => {
      const spec = library.specs.get(kernel)!;
      const parts = partsOf(spec, source).map(({ name, text }) => ({
        file: `src/kernels/${name}.wgsl`,
        text,
      }));
      return { name: kernel.name, parts, overrides: spec.overrides ?? {} };
    });
    const { kernel, format, shape } = shown;
    return { kernel, format, shape, shaders };
  } finally {
    prepared.release();
    device.check();
  }
}
