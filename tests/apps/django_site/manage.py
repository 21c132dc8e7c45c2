# SPDX-License-Identifier: MIT
"""The commands of a small Django site; SITE_DATABASE names its database."""

import os
import sys

from django.core.management import execute_from_command_line

os.environ["DJANGO_SETTINGS_MODULE"] = "notes.settings"
execute_from_command_line(sys.argv)
