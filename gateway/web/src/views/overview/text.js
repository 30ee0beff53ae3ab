// SPDX-License-Identifier: MIT
export const overview = {
  en: {
    title: 'Overview',
  },
  zh: {
    title: '概览',
  },
};
