/**
 * Other servers to compare with, if they are installed. They are no part of Bellwire's aims: none
 * of them checks credentials, has an inbox or writes to a disk.
 */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { HEARTBEAT_MS, type Recipient, type Target, TOPIC } from './targets.ts'

const MODULE =
  process.env['NCHAN_MODULE'] ??
  ['/usr/lib/nginx/modules', '/usr/share/nginx/modules']
    .map((dir) => `${dir}/ngx_nchan_module.so`)
    .find((file) => existsSync(file))

const channelOf = (to: Recipient): string => ('user' in to ? to.user : to.topic)

function config(port: number, dir: string): string {
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${dir}/${name};`
  )
  return `load_module ${MODULE};
daemon off; master_process off; pid ${dir}/nginx.pid; error_log ${dir}/error.log warn;
worker_rlimit_nofile 20000;
events { worker_connections 19000; multi_accept on; }
http {
  access_log off; ${paths.join(' ')}
  keepalive_requests 1000000000; tcp_nodelay on; nchan_shared_memory_size 512m;
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location ~ ^/sub/(\\w+)$ {
      nchan_subscriber eventsource;
      nchan_channel_id $1;
      nchan_subscriber_first_message newest;
      nchan_eventsource_ping_interval ${Number(HEARTBEAT_MS) / 1000};
    }
    location ~ ^/pub/(\\w+)$ {
      nchan_publisher http;
      nchan_channel_id $1;
      nchan_message_buffer_length 10;
      nchan_message_timeout 1m;
    }
  }
}
`
}

/**
 * nchan 1.3, an nginx module in C, with its memory store, in one process:
 * `apt-get install nginx-light libnginx-mod-nchan`, then `npm run bench -- --peer nchan`.
 * `NCHAN_MODULE` names the module if it lies elsewhere.
 */
const nchan: Target = {
  name: 'nchan',
  path: (to) => `/pub/${channelOf(to)}`,
  batchPath: null,
  headers: 'X-EventSource-Event: notification\r\n',
  command: (port, dataDir) => {
    if (MODULE === undefined)
      throw new Error('nchan not found: apt-get install nginx-light libnginx-mod-nchan')
    const file = join(dataDir, 'nginx.conf')
    writeFileSync(file, config(port, dataDir))
    return ['nginx', '-c', file, '-e', `${dataDir}/error.log`]
  },
  env: () => ({}),
  readyPath: '/',
  collects: false,
  oneChannel: true,
  request: (user, audience) =>
    `GET /sub/${audience === 'user' ? user : TOPIC} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n`
}

/** All of them. */
export const PEERS: readonly Target[] = [nchan]
