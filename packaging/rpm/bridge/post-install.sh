# $1: packages of this name that will be there; 1 at the first installation.
systemd-sysusers lockbridge.conf
systemd-tmpfiles --create lockbridge.conf
/usr/lib/lockbridge/seal-state-key
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    udevadm control --reload 2>/dev/null || true
fi
if [ "$1" -eq 1 ]; then
    systemctl --no-reload preset lockbridge.service 2>/dev/null || true
    echo "lockbridge: installed, not started. Run \`sudo lockbridge setup\`."
fi
