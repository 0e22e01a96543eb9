// The device that an engine would open, for kernels without a model.

import type { Platform } from "../../engine/run/session.ts";
import { type Adapter, readAdapter } from "../../kernels/adapter/adapter.ts";
import { Device } from "../../kernels/gpu/device.ts";
import { tuningOf } from "../../kernels/matrix/tuning.ts";
import { GPU_MATRIX, SOFTWARE_MATRIX } from "./kernel-cases.ts";

export interface TunedDevice {
  readonly device: Device;
  /** What was measured on its adapter, and what follows from it. */
  readonly facts: Adapter;
  /** One line about the adapter. */
  readonly adapter: string;
  /** The matrix that kernels are tried with there. */
  readonly usual: { readonly n: number; readonly k: number };
}

/** Opens the device that an engine would, and closes it when `use` is done. */
export async function withTunedDevice<T>(
  platform: Platform,
  use: (opened: TunedDevice) => Promise<T>,
): Promise<T> {
  const gpu = platform.openGpu();
  const adapter = await platform.requestAdapter(gpu);
  const { measurements, shaders } = platform;
  const open = (on: GPUAdapter) => Device.open(gpu, on, {}, platform.waitFor(on));
  const another = async () => open(await platform.requestAdapter(gpu));
  await using device = await open(adapter);
  const tuning = await tuningOf(device, measurements, another, shaders);
  const facts = readAdapter(device, tuning);
  const usual = facts.isSoftware ? SOFTWARE_MATRIX : GPU_MATRIX;
  return await use({ device, facts, adapter: platform.describeAdapter(adapter), usual });
}
