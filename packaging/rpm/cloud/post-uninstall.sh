# $1: packages of this name that are left. The data stays: /var/lib/lockbridge-cloud.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    if [ "$1" -ge 1 ]; then
        systemctl try-restart lockbridge-cloud.service
    fi
fi
