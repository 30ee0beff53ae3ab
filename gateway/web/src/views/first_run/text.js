// SPDX-License-Identifier: MIT
export const first_run = {
  en: {
    title: 'Set up', lead: 'A few steps to the first answer, and to the code for your client.', leave: 'Leave the guide', done: 'Done', skip: 'Skip', skipped: 'Skipped',
    signed_in: 'You are signed in', credential: 'Add a CodeBuddy credential', login_text: 'Log in with your CodeBuddy account. The token goes straight to the server.', or: 'or', paste: 'Paste a token instead',
    testing: 'Test it', test: 'Test {name}', test_text: 'Sends one tiny completion with exactly this credential.', test_failed: '{name} does not work', tested: 'It works. It answered in {time}.', other_account: 'Log in with another account',
    ask: 'Get your first answer', message: 'A message to {model}',
    client: 'Connect your client', key_text: 'Give your client a key of its own: it can be limited, watched and revoked.', key_name: 'My first client', finish: 'Finish',
  },
  zh: {
    title: '开始使用', lead: '几步即可得到第一个回答，以及用于客户端的代码。', leave: '离开向导', done: '已完成', skip: '跳过', skipped: '已跳过',
    signed_in: '你已登录', credential: '添加 CodeBuddy 凭证', login_text: '用你的 CodeBuddy 账号登录，Token 直接交给服务器。', or: '或', paste: '改为粘贴 Token',
    testing: '测试凭证', test: '测试 {name}', test_text: '用此凭证发送一个极小的补全请求。', test_failed: '{name} 无法使用', tested: '可以使用，用时 {time}。', other_account: '用其他账号登录',
    ask: '获取第一个回答', message: '发给 {model} 的消息',
    client: '连接你的客户端', key_text: '为客户端发放单独的密钥：可限额、查看和撤销。', key_name: '我的第一个客户端', finish: '完成',
  },
};
