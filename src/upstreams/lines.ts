const NEWLINE = 0x0a

/**
 * Lines of a byte stream, without their newline; empty lines are left out. Memory is one chunk and the longest line. A
 * last line without a newline is a line: whether it is whole is for its reader to see.
 */
export async function* splitLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  // Of the line that has begun and not ended.
  let pieces: Uint8Array[] = []
  for await (const chunk of chunks) {
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const rest = chunk.subarray(start, end)
      const line = pieces.length === 0 ? rest : Buffer.concat([...pieces, rest])
      pieces = []
      start = end + 1
      if (line.length > 0) yield line
    }
    if (start < chunk.length) pieces.push(chunk.subarray(start))
  }
  if (pieces.length > 0) yield Buffer.concat(pieces)
}
