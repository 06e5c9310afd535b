// Loaded before a measured script: tells the parent what the process has used.

export interface Usage {
  readonly cpu_ms: number
  readonly peak_rss_mb: number
}

// The channel to the parent must not keep the process alive.
process.channel?.unref()
process.on('exit', () => {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage()
  const usage: Usage = {
    cpu_ms: Math.round((userCPUTime + systemCPUTime) / 1_000),
    peak_rss_mb: Math.round(maxRSS / 1_024),
  }
  process.send?.(usage)
})
