/** Events of the browser about the network and about this page. */
const LIFECYCLE = [
  'online',
  'offline',
  'pagehide',
  'pageshow',
  'freeze',
  'resume',
  'visibilitychange'
]

/**
 * Calls back with the type of each of those events until the signal aborts. Outside a browser there
 * are none.
 */
export function onLifecycle(hear: (type: string) => void, signal: AbortSignal): void {
  // Some go to the document and do not bubble: capturing, the window gets them on their way.
  for (const name of LIFECYCLE)
    globalThis.addEventListener?.(name, ({ type }) => hear(type), { capture: true, signal })
}
