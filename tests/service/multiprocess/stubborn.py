"""A child that is heard once and never ends by itself: what a hung process looks like to its parent."""

import signal
import sys
import time
from socket import socket

socket(fileno=sys.stdin.fileno()).send(b".")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(600)
