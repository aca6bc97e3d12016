# $1: packages of this name that will be left; 0 at removal.
if [ "$1" -eq 0 ] && [ -d /run/systemd/system ]; then
    systemctl --no-reload disable --now lockbridge.service
fi
