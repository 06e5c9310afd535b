import { loadCatalogue } from '../facts/load.ts'

/** What a job may say as `api_version`, oldest first: the header `anthropic-version`. */
export const API_VERSIONS: readonly string[] = loadCatalogue().rules.apiVersions.map(({ id }) => id)

/**
 * The oldest version has no announced end and every parameter that exists works with it; a newer one only takes things
 * away (claude-api.md 1, 1.1). So a job that says nothing means the same tomorrow, and a job that says `temperature: 0`
 * is not refused for a version that it never asked for. `plan` shows the version.
 */
export const DEFAULT_API_VERSION: string = API_VERSIONS[0]!
