// SPDX-License-Identifier: MIT
export const processes = {
  en: {
    title: 'Processes', lead: 'What runs, how long, and how it does. The supervisor restarts what fails.', caption: 'Processes of this installation',
    name: 'Process', state: 'State', pid: 'PID', host: 'Host', up: 'Up', up_since: 'Up since {when}', restarts: 'Restarts', streams: 'Streams', memory: 'Memory', cpu: 'CPU time', lag: 'Loop lag',
    files: 'Open files', none: 'No process reports itself', none_text: 'statsd has not heard from anyone yet. This fills within seconds of a start.',
    total: '{n} processes', total_memory: 'Memory in all', total_restarts: 'Restarts', worst_lag: 'Longest loop lag', oldest: 'Running for',
    role_supervisor: 'Supervisor', role_gateway: 'Gateway', role_upstream_worker: 'Upstream worker', role_credd: 'Credentials (credd)', role_statsd: 'Statistics (statsd)',
    state_starting: 'Starting', state_ready: 'Ready', state_stopping: 'Stopping', state_backing_off: 'Restarting', state_parked: 'Parked', state_draining: 'Draining', state_stopped: 'Stopped',
    lag_hint: 'over {n} ms, requests feel it',
  },
  zh: {
    title: '进程', lead: '正在运行的进程、运行时长与状态。出错的进程由 supervisor 重启。', caption: '本服务的进程',
    name: '进程', state: '状态', pid: 'PID', host: '主机', up: '运行时长', up_since: '启动于 {when}', restarts: '重启次数', streams: '流', memory: '内存', cpu: 'CPU 时间', lag: '循环延迟',
    files: '打开的文件', none: '还没有进程上报', none_text: 'statsd 尚未收到任何进程的消息，启动后几秒内会显示。',
    total: '{n} 个进程', total_memory: '内存合计', total_restarts: '重启次数', worst_lag: '最大循环延迟', oldest: '已运行',
    role_supervisor: '监督进程', role_gateway: '网关', role_upstream_worker: '上游工作进程', role_credd: '凭证（credd）', role_statsd: '统计（statsd）',
    state_starting: '启动中', state_ready: '就绪', state_stopping: '停止中', state_backing_off: '重启中', state_parked: '已停用', state_draining: '排空中', state_stopped: '已停止',
    lag_hint: '超过 {n} ms 时请求会有感觉',
  },
};
