# $1: packages of this name that will be there; 1 at the first installation.
systemd-sysusers lockbridge-cloud.conf
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
if [ "$1" -eq 1 ]; then
    systemctl --no-reload preset lockbridge-cloud.service 2>/dev/null || true
    echo 'lockbridge-cloud: installed, not started. Edit /etc/default/lockbridge-cloud, then enable it.'
fi
