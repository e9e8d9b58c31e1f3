// Runs in OpenCode where its server cannot be followed, and tells agentd the same. Its events go to agentd's socket for
// hooks; what agentd asks of the server's interface is asked here, within the process, and needs no port.
//
// agentd may be absent at any time, and another one may come back: what it missed it asks for.

const OWNER = "AGENTD_OPENCODE_PID" // another OpenCode that this one's tools start is none of agentd's
const GATHER = 40 // ms in which events are gathered: agentd takes 200 posts a second
const AWAY = 500 // ms until agentd is tried again
const HOLD = 60_000 // ms; agentd answers what it holds every 20 s
const MOST = 8 << 20 // characters of events that wait
const LARGEST = 192 << 10 // characters of one post: agentd takes 1 MiB, and each may be six bytes
const REMEMBERED = 1000 // ids of events: one can be told twice, as to each of two instances

const pause = (ms) => new Promise((done) => setTimeout(done, ms))

function begin(socket) {
  const seen = new Set()
  const link = { client: undefined }
  let waiting = []
  let size = 0
  let lost = false
  let telling = false

  async function post(name, document) {
    const answer = await fetch(`http://agentd/v1/hook/${name}`, {
      unix: socket,
      method: "POST",
      body: JSON.stringify(document),
      signal: AbortSignal.timeout(HOLD),
    })
    const text = await answer.text()
    if (!answer.ok) throw new Error(`${answer.status}`)
    return text ? JSON.parse(text) : {}
  }

  function forget() {
    waiting = []
    size = 0
    lost = true
  }

  async function tell() {
    if (telling) return
    telling = true
    while (waiting.length || lost) {
      await pause(GATHER)
      const wasLost = lost
      const batch = []
      for (let length = 0; waiting.length && (!batch.length || length + waiting[0].length <= LARGEST); ) {
        const text = waiting.shift()
        length += text.length
        size -= text.length
        batch.push(JSON.parse(text))
      }
      try {
        await post("events", { lost: wasLost, events: batch })
        if (wasLost) lost = false
      } catch {
        forget()
        await pause(AWAY)
      }
    }
    telling = false
  }

  link.take = (event) => {
    if (event.id) {
      if (seen.has(event.id)) return
      seen.add(event.id)
      if (seen.size > REMEMBERED) seen.delete(seen.values().next().value)
    }
    const text = JSON.stringify(event)
    if (text.length > LARGEST || size + text.length > MOST) forget()
    else {
      waiting.push(text)
      size += text.length
    }
    tell()
  }

  async function ask({ id, method, path, document }) {
    let status = 0
    let text = ""
    try {
      const { baseUrl, headers, fetch: within } = link.client._client.getConfig()
      const body = document === null ? undefined : JSON.stringify(document)
      const answer = await within(new Request(new URL(path, baseUrl), { method, body, headers: new Headers(headers) }))
      status = answer.status
      text = await answer.text()
    } catch (error) {
      text = `${error}`
    }
    let at = 0
    do {
      const piece = text.slice(at, at + LARGEST)
      at += LARGEST
      try {
        await post("answer", { id, status, text: piece, last: at >= text.length })
      } catch {
        return
      }
    } while (at < text.length)
  }

  async function serve() {
    for (;;) {
      try {
        const wish = await post("next", {})
        if (wish.refused) return
        if (wish.id !== undefined) ask(wish)
      } catch {
        await pause(AWAY)
      }
    }
  }

  serve()
  return link
}

export const agentd = async ({ client }) => {
  const socket = process.env.AGENTD_HOOK
  const owner = process.env[OWNER]
  if (!socket || (owner && owner !== `${process.pid}`)) return {}
  process.env[OWNER] = `${process.pid}`
  const link = (globalThis[Symbol.for("agentd.turns")] ??= begin(socket))
  link.client = client
  return { event: async ({ event }) => link.take(event) }
}
