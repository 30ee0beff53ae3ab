/* SPDX-License-Identifier: MIT */
/* Prints what is kept in documents but made from lists: `messages` (proto/README.md), `settings` (README.md),
 * `settings-zh` (README.zh-CN.md). */
#include "proto/message.h"
#include "proto/settings.h"

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "messages") == 0)
        message_print_table(stdout);
    else if (argc == 2 && strcmp(argv[1], "settings") == 0)
        settings_print_markdown(stdout);
    else if (argc == 2 && strcmp(argv[1], "settings-zh") == 0)
        settings_print_chinese(stdout);
    else
        return 64;
    return 0;
}
