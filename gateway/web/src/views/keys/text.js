// SPDX-License-Identifier: MIT
export const keys = {
  en: {
    title: 'Keys', lead: 'A key for each client: shown once, limited as you like, revoked at once on every gateway.', caption: 'API keys',
    create: 'New key', name: 'Name', key: 'Key', models: 'Models', limits: 'Limits', in_flight: 'In flight', last_used: 'Last used', expires: 'Expires', created: 'Created', acts: 'Actions',
    all_models: 'All', rpm_of: '{n} per minute', in_flight_of: '{n} at a time', no_limits: 'None', never: 'Never', expired: 'Expired',
    revoke: 'Revoke', revoke_of: 'Revoke {name}', revoke_title: 'Revoke “{name}”?', revoke_text: 'Its next request is refused, on every gateway. Requests that run go on. This cannot be undone.', revoked: '“{name}” is revoked.',
    none: 'No keys yet', none_text: 'Clients can use the password, but a key of its own can be limited, watched and taken away from each of them.',
    create_title: 'New key', name_hint: 'Who or what will use it: it stands in the ledger’s reports.', models_label: 'Models', models_hint: 'None chosen: all, also those that come later.',
    rpm: 'Requests per minute', max_in_flight: 'Requests at a time', no_limit: 'No limit', expires_on: 'Expires on', expires_hint: 'At the end of that day, your time. Empty: never.',
    submit: 'Create the key', bad_name: 'Give it a name of 1 to 64 bytes.', bad_number: 'A whole number, at least 1.', bad_date: 'A day in the future.',
    made_title: 'The key of “{name}”', made_text: 'Copy it now: it is kept as a hash only, and never shown again.', made_done: 'I have copied it',
    base_url: 'Base URL', usage: 'Requests of this key',
  },
  zh: {
    title: '密钥', lead: '为每个客户端发放一个密钥：只显示一次，可设限额，撤销后所有网关立即生效。', caption: 'API 密钥',
    create: '新建密钥', name: '名称', key: '密钥', models: '模型', limits: '限额', in_flight: '进行中', last_used: '最近使用', expires: '到期', created: '创建时间', acts: '操作',
    all_models: '全部', rpm_of: '每分钟 {n} 次', in_flight_of: '同时 {n} 个', no_limits: '无', never: '从不', expired: '已过期',
    revoke: '撤销', revoke_of: '撤销 {name}', revoke_title: '撤销“{name}”？', revoke_text: '它的下一个请求会被所有网关拒绝，正在进行的请求会继续完成。此操作无法撤回。', revoked: '“{name}”已撤销。',
    none: '还没有密钥', none_text: '客户端可以直接使用密码，但单独的密钥可以分别限额、查看和收回。',
    create_title: '新建密钥', name_hint: '由谁或什么程序使用：会出现在用量报表中。', models_label: '模型', models_hint: '不选：全部，包括以后新增的。',
    rpm: '每分钟请求数', max_in_flight: '同时进行的请求数', no_limit: '不限', expires_on: '到期日', expires_hint: '以本地时间当日结束为准；留空：永不过期。',
    submit: '创建密钥', bad_name: '请填写 1 到 64 字节的名称。', bad_number: '请填写不小于 1 的整数。', bad_date: '请选择将来的日期。',
    made_title: '“{name}”的密钥', made_text: '请立即复制：系统只保存其哈希，以后不再显示。', made_done: '我已复制',
    base_url: 'Base URL', usage: '此密钥的请求',
  },
};
