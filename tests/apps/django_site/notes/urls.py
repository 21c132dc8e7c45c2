# SPDX-License-Identifier: MIT
"""The admin, and the pages for everybody."""

from django.contrib import admin
from django.urls import path

from . import views

urlpatterns = [
    path("", views.index),
    path("<int:pk>/", views.detail),
    path("admin/", admin.site.urls),
]
