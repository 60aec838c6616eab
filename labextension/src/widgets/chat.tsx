import React from 'react';

import { Chat, ChatProps } from '../components/Chat';
import { Props, widget } from './view';

type Traits = Omit<ChatProps, 'onModel' | 'onAsk' | 'onStop' | 'onClear'>;

function ChatWidget(props: Props<Traits>) {
  const { set, ask } = props;
  return (
    <Chat
      {...props}
      onModel={model => set('model', model)}
      onAsk={text => ask('ask', { text })}
      onStop={() => ask('stop')}
      onClear={() => ask('clear')}
    />
  );
}

export default widget<Traits>(ChatWidget, ['model', 'models', 'turns', 'answering', 'spent']);
