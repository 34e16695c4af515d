/**
 * Every number that is not a setting, with its reason. Durations are milliseconds and sizes are
 * bytes, unless the name says otherwise. The files look alike because each is a list of numbers.
 */
export * from './limits/auth.ts'
export * from './limits/caches.ts'
export * from './limits/connections.ts'
export * from './limits/monitoring.ts'
export * from './limits/redis.ts'
export * from './limits/requests.ts'
export * from './limits/stores.ts'
