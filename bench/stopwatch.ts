/** Wall clock and the CPU time of all threads of this process, from now until the answer is called. */
export function stopwatch(): () => { readonly step_ms: number; readonly step_cpu_ms: number } {
  const begun = performance.now()
  const before = process.cpuUsage()
  return () => {
    const { user, system } = process.cpuUsage(before)
    return {
      step_ms: Math.round(performance.now() - begun),
      step_cpu_ms: Math.round((user + system) / 1_000),
    }
  }
}
