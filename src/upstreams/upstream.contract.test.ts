import { anthropicUpstream } from './anthropic.ts'
import { openForTest, SONNET } from './local/local.contract-setup.ts'
import { upstreamContract } from './upstream.contract.ts'
import { serveUpstream } from './upstream.test-server.ts'

upstreamContract({
  name: 'local',
  open: async () => {
    const { local, clock } = await openForTest()
    return { upstream: local, clock, model: SONNET, close: () => local.close() }
  },
})

upstreamContract({
  name: 'anthropic, over HTTP to local',
  open: async () => {
    const { local, clock } = await openForTest()
    const server = await serveUpstream(local, clock)
    const { baseUrl } = server
    const upstream = anthropicUpstream({ baseUrl, apiKey: 'sk-test', workspace: local.workspace, clock })
    const close = async () => {
      await upstream.close()
      await server.close()
      await local.close()
    }
    return { upstream, clock, model: SONNET, close }
  },
})
