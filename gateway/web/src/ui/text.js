// SPDX-License-Identifier: MIT
// Texts of the component set, of formats, and of the frame around the views.
export const ui = {
  en: {
    copy: 'Copy', copied: 'Copied', copy_failed: 'The browser did not let us copy. Select the text and copy it by hand.',
    close: 'Close', cancel: 'Cancel', dismiss: 'Dismiss', retry: 'Try again', loading: 'Loading', failed: 'This could not be loaded',
    error_network: 'The gateway cannot be reached.', error_away: 'The service that answers this is away. It usually returns within seconds.',
    error_busy: 'Too many requests at once. Wait a moment.', error_server: 'The server failed: {message}', error_field: 'Not accepted: {message}', error_forbidden: 'This is not permitted.', error_gone: 'It is not there any more.', error_changed: 'Somebody else has changed it meanwhile.', error_large: 'It is too large.', request_id: 'Request {id}',
  },
  zh: {
    copy: '复制', copied: '已复制', copy_failed: '浏览器不允许复制，请选中文本手动复制。',
    close: '关闭', cancel: '取消', dismiss: '关闭提示', retry: '重试', loading: '正在加载', failed: '无法加载',
    error_network: '无法连接网关。', error_away: '负责此项的服务暂时不可用，通常几秒内恢复。',
    error_busy: '请求过于频繁，请稍候。', error_server: '服务器出错：{message}', error_field: '未被接受：{message}', error_forbidden: '不允许此操作。', error_gone: '它已不存在。', error_changed: '它刚被他人修改。', error_large: '内容过大。', request_id: '请求 {id}',
  },
};

export const format = {
  en: { day: '{n} d', hour: '{n} h', minute: '{n} min', second: '{n} s' },
  zh: { day: '{n} 天', hour: '{n} 小时', minute: '{n} 分', second: '{n} 秒' },
};

export const chart = {
  en: { keys: '{label}. Left and right arrow keys move through time.' },
  zh: { keys: '{label}。用左右方向键按时间移动。' },
};

export const shell = {
  en: {
    skip: 'Skip to the content', navigation: 'Main', open_menu: 'Open the menu', close_menu: 'Close the menu', title: '{view} · codebuddy2api',
    theme: 'Theme', theme_system: 'System', theme_light: 'Light', theme_dark: 'Dark', language: 'Language', language_system: 'Auto',
    sign_out: 'Sign out', sign_out_failed: 'Signing out failed: {why}', starting: 'Connecting to the gateway',
    healthy: 'Healthy', degraded: 'Degraded', unhealthy: 'Unhealthy', unknown: 'Checking', lost: 'Connection lost',
    lost_long: 'The connection to the gateway is lost. What you see may be old; trying again by itself.', back: 'Connected again.',
    not_found: 'There is no such page', not_found_text: 'The address names a page that does not exist.', to_overview: 'To the overview',
  },
  zh: {
    skip: '跳到内容', navigation: '主导航', open_menu: '打开菜单', close_menu: '关闭菜单', title: '{view} · codebuddy2api',
    theme: '主题', theme_system: '跟随系统', theme_light: '浅色', theme_dark: '深色', language: '语言', language_system: '自动',
    sign_out: '退出登录', sign_out_failed: '退出失败：{why}', starting: '正在连接网关',
    healthy: '正常', degraded: '降级', unhealthy: '异常', unknown: '检查中', lost: '连接中断',
    lost_long: '与网关的连接已中断，所见内容可能已过时；正在自动重连。', back: '已重新连接。',
    not_found: '没有这个页面', not_found_text: '此地址对应的页面不存在。', to_overview: '前往概览',
  },
};

export const sign_in = {
  en: {
    title: 'Sign in', lead: 'Use the password of this installation (CODEBUDDY_PASSWORD).', password: 'Password', show: 'Show the password', submit: 'Sign in',
    ended: 'Your session is over. Sign in again to go on where you were.', left: 'You are signed out.',
    wrong: 'That is not the password.', many: 'Too many wrong passwords from this address. Try again in {n} s.', not_ready: 'The gateway is still starting. Try again in a moment.',
    empty: 'Enter the password.',
  },
  zh: {
    title: '登录', lead: '使用本服务的密码（CODEBUDDY_PASSWORD）。', password: '密码', show: '显示密码', submit: '登录',
    ended: '会话已结束，请重新登录以继续。', left: '已退出登录。',
    wrong: '密码不正确。', many: '此地址输错密码次数过多，请在 {n} 秒后重试。', not_ready: '网关仍在启动，请稍后重试。',
    empty: '请输入密码。',
  },
};
