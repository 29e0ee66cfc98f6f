#!/usr/bin/env python3
"""wire.py A B MS PERCENT: carries frames between two network devices, late by half of MS, and loses PERCENT of them.

The kernel's own netem is not in every kernel, and /dev/net/tun is often root's alone; packet sockets are there for whoever owns
the network namespace. The virtio header goes along with every frame: frames inside a machine have no checksum yet, and may be
far longer than what a cable carries.
"""

import heapq
import random
import select
import socket
import sys
import time

SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 1, 15, 23
PACKET_MR_PROMISC, ETH_P_ALL = 1, 3


def tap(name):
    """Opens a device: everything that arrives on it is read, everything written leaves through it."""
    tapped = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    tapped.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    tapped.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    tapped.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    tapped.bind((name, ETH_P_ALL))
    request = socket.if_nametoindex(name).to_bytes(4, sys.byteorder) + PACKET_MR_PROMISC.to_bytes(2, sys.byteorder) + bytes(10)
    tapped.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, request)
    tapped.setblocking(False)
    return tapped


def main():
    """Carries frames until it is killed."""
    a, b = tap(sys.argv[1]), tap(sys.argv[2])
    late, share = float(sys.argv[3]) / 2000, float(sys.argv[4]) / 100
    waiting, number = [], 0
    print("ready", flush=True)
    while True:
        wait = max(0, waiting[0][0] - time.monotonic()) if waiting else None
        for arrived in select.select([a, b], [], [], wait)[0]:
            frame = arrived.recv(1 << 17)
            if random.random() >= share:
                number += 1
                heapq.heappush(waiting, (time.monotonic() + late, number, b if arrived is a else a, frame))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, leaves, frame = heapq.heappop(waiting)
            try:
                leaves.send(frame)
            except OSError:
                pass  # A full queue or a cable that is out loses frames too.


main()
