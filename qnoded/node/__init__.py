"""The running node: the only room with tasks, sockets, threads, timers and files of its own.

It carries blocks between instruments, stages and the conversation with the peer, and decides nothing that they could.
"""
