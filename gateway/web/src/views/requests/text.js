// SPDX-License-Identifier: MIT
export const requests = {
  en: {
    title: 'Requests', lead: 'The latest requests: who, what and how it went. Prompts and answers are never kept.', caption: 'Requests, newest first',
    filters: 'Filters', model: 'Model', credential: 'Credential', key: 'Key', outcome: 'Outcome', status: 'Status', any: 'Any', reset: 'Clear filters',
    time: 'Time', duration: 'Duration', first_event: 'First event', tokens: 'Tokens', in_out: '{in} in · {out} out', prompt_tokens: 'Prompt tokens', completion_tokens: 'Completion tokens', cached_tokens: 'Cached tokens',
    reasoning_tokens: 'Reasoning tokens', credit: 'Credit', id: 'Request id', error_code: 'Error', mode: 'Mode', streamed: 'Streamed', plain: 'Plain', started: 'Started', password_key: 'Password',
    newer: 'Newest', older: 'Older', page: 'Page {n}', live: 'Live', live_hint: 'New requests appear by themselves',
    none: 'No requests yet', none_text: 'As soon as a client asks for a completion, it appears here.', none_match: 'Nothing matches', none_match_text: 'No request of the ledger fits these filters.',
    details: 'Request',
    outcome_ok: 'Answered', outcome_cancelled: 'Cancelled', outcome_blameless: 'Refused', outcome_transient: 'Upstream trouble', outcome_rate_limited: 'Rate limited', outcome_exhausted: 'Out of credit', outcome_unauthorized: 'Token refused',
    outcome_risk_control: 'Risk control', outcome_model_not_served: 'Model not served', outcome_error: 'Failed', outcome_unknown: 'Unknown',
  },
  zh: {
    title: '请求', lead: '最近的请求：谁发起、用了什么、结果如何。绝不保存提示词和回答。', caption: '请求，最新在前',
    filters: '筛选', model: '模型', credential: '凭证', key: '密钥', outcome: '结果', status: '状态码', any: '全部', reset: '清除筛选',
    time: '时间', duration: '耗时', first_event: '首个事件', tokens: 'Token', in_out: '入 {in} · 出 {out}', prompt_tokens: '输入 Token', completion_tokens: '输出 Token', cached_tokens: '缓存 Token',
    reasoning_tokens: '推理 Token', credit: '额度', id: '请求 ID', error_code: '错误', mode: '方式', streamed: '流式', plain: '非流式', started: '开始时间', password_key: '密码',
    newer: '最新', older: '更早', page: '第 {n} 页', live: '实时', live_hint: '新请求会自动出现',
    none: '还没有请求', none_text: '客户端发起补全后会显示在这里。', none_match: '没有符合的请求', none_match_text: '账本中没有符合这些条件的请求。',
    details: '请求',
    outcome_ok: '已回答', outcome_cancelled: '已取消', outcome_blameless: '已拒绝', outcome_transient: '上游故障', outcome_rate_limited: '被限速', outcome_exhausted: '额度用尽', outcome_unauthorized: 'Token 被拒',
    outcome_risk_control: '风控', outcome_model_not_served: '模型不可用', outcome_error: '失败', outcome_unknown: '未知',
  },
};
