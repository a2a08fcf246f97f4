"""A name server of dnslib over UDP and TCP, whose zone is a file that is read for each question."""

import sys
import time

from dnslib import QTYPE, RCODE, RR, DNSRecord
from dnslib.server import BaseResolver, DNSHandler, DNSServer


class Zone(BaseResolver):
    def __init__(self, path):
        self.path = path

    def resolve(self, request, handler):
        text = open(self.path).read()
        if text == "SILENT":
            raise TimeoutError("no answer")
        reply = request.reply()
        if text == "SERVFAIL":
            reply.header.rcode = RCODE.SERVFAIL
            return reply
        records = RR.fromZone(text) if text else []
        name, found = request.q.qname, False
        for _ in range(8):
            of_name = [record for record in records if record.rname == name]
            found = found or bool(of_name)
            answers = [record for record in of_name if record.rtype in (request.q.qtype, QTYPE.CNAME)]
            for record in answers:
                reply.add_answer(record)
            aliases = [record for record in answers if record.rtype == QTYPE.CNAME]
            if not aliases:
                break
            name = aliases[0].rdata.label
        if not found:
            reply.header.rcode = RCODE.NXDOMAIN
        return reply


class Handler(DNSHandler):
    def get_reply(self, data):
        reply = super().get_reply(data)
        if self.protocol == "udp" and len(reply) > 512:
            # Cut, so that whoever asks comes again over TCP; with the question, which dnslib's own way leaves out.
            cut = DNSRecord.parse(data).reply()
            cut.header.tc = 1
            return cut.pack()
        return reply


port, path = int(sys.argv[1]), sys.argv[2]
for tcp in (False, True):
    DNSServer(Zone(path), address="127.0.0.1", port=port, tcp=tcp, handler=Handler).start_thread()
while True:
    time.sleep(3600)
