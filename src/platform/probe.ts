/**
 * Prints the adapter that Dawn finds, or nothing. Set-up runs this file as a process of its own,
 * because the Vulkan loader is loaded, or found missing, once per process: only a fresh one
 * sees a driver that was installed a moment ago.
 */
import { describeAdapter, openGpu } from "./dawn.ts";

const gpu = openGpu();
const adapter = await gpu.requestAdapter();
if (adapter) console.log(describeAdapter(adapter));
