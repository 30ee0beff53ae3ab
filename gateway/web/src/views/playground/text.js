// SPDX-License-Identifier: MIT
export const playground = {
  en: {
    title: 'Playground', lead: 'Ask something, watch the answer arrive, and take the code along.', ask: 'Ask', model: 'Model', model_hint: 'Any name may be typed; the list is what is offered.', system: 'System message', system_hint: 'Empty: the default of the settings.',
    message: 'Message', message_start: 'Say hello in one sentence.', streamed: 'Streamed', send: 'Send', stop: 'Stop', no_message: 'Write a message.', no_model: 'Name a model.',
    answer: 'Answer', idle: 'The answer appears here', idle_text: 'Streamed, it arrives word by word, as your clients get it.', waiting: 'Waiting for the first event', thinking: 'Reasoning', tool: 'Tool call {name}', empty_answer: 'The answer has no text.',
    stopped: 'Stopped. The upstream was told at once.', failed: 'The request failed', failed_at: '{message} (HTTP {status}, {code})', broke: 'The connection broke before the answer was whole.', cut: 'The answer was cut short: {message}',
    first: 'First event', total: 'Total', rate: 'Tokens a second', tokens: 'Tokens', in_out: '{in} in · {out} out', finish: 'Finish', request_id: 'Request', approximate: '≈ {n}',
    code: 'The same from your client', code_text: 'Exactly what was sent. Put a key of yours where YOUR_KEY stands.', make_key: 'Make a key', language: 'Language',
  },
  zh: {
    title: '试用', lead: '提个问题，看回答逐字到来，并带走对应的代码。', ask: '提问', model: '模型', model_hint: '可填写任意名称，列表中为已提供的模型。', system: '系统消息', system_hint: '留空：使用设置中的默认值。',
    message: '消息', message_start: '用一句话打个招呼。', streamed: '流式', send: '发送', stop: '停止', no_message: '请填写消息。', no_model: '请填写模型名称。',
    answer: '回答', idle: '回答会显示在这里', idle_text: '流式时逐字到来，与你的客户端所见相同。', waiting: '正在等待首个事件', thinking: '推理', tool: '工具调用 {name}', empty_answer: '回答中没有文字。',
    stopped: '已停止，并立即通知了上游。', failed: '请求失败', failed_at: '{message}（HTTP {status}，{code}）', broke: '连接在回答完整之前中断。', cut: '回答被截断：{message}',
    first: '首个事件', total: '总耗时', rate: '每秒 Token', tokens: 'Token', in_out: '入 {in} · 出 {out}', finish: '结束原因', request_id: '请求', approximate: '≈ {n}',
    code: '在你的客户端中实现同样的请求', code_text: '与实际发送的内容完全一致。请将 YOUR_KEY 换成你的密钥。', make_key: '新建密钥', language: '语言',
  },
};
