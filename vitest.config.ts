import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Two processes at most: each holds a software GPU that uses every core by itself.
    maxWorkers: 2,
  },
});
