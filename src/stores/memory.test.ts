import { openMemoryStore } from './memory.ts'
import { storeContract } from './store.contract.ts'

storeContract({ name: 'memory', open: async () => openMemoryStore() })
