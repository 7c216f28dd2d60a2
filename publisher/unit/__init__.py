"""The publisher as a service of its user: systemd on Linux, launchd on macOS.

Nothing here runs a publisher, and nothing needs an administrator.
"""
