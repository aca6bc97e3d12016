# $1: packages of this name that are left. State and configuration stay: /var/lib/lockbridge, /etc/lockbridge.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    if [ "$1" -ge 1 ]; then
        systemctl try-restart lockbridge.service
    fi
fi
